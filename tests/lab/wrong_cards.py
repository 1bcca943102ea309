"""What may be wrong with a card, each as a fake one has it, and the check that is to notice."""

from collections.abc import Mapping
from typing import NamedTuple

from lab.fake_gpu_files import FOLDER

UUID = "GPU-955ddd45-3e91-5ca4-86ec-14da31fba132"  # of the card at 0000:01:00.0, in every profile
CARD = f"{FOLDER}/root/sys/bus/pci/devices/0000:01:00.0"


class Wrong(NamedTuple):
    """One thing that is not as it should be, and the one check that is to notice."""

    check: str
    words: str
    values: Mapping[str, str] = {}
    command: str = "true"
    driver: str = ""
    outcome: str = "failed"


WRONGS = {
    "persistence": Wrong(
        "persistence is on",
        "persistence is off: NVIDIA GeForce RTX 3090 (0000:01:00.0)",
        values={"persistence_mode": "Disabled"},
    ),
    "reset": Wrong(
        "no card needs a reset",
        "GPU requires reset: NVIDIA GeForce RTX 3090",
        values={"temperature.gpu": "[GPU requires reset]"},
    ),
    "capability": Wrong(
        "the cards are what the table says",
        "NVIDIA GeForce RTX 3090 (0000:01:00.0) says compute capability 7.5, deeprig's table 8.6",
        values={"compute_cap": "7.5"},
    ),
    "nouveau": Wrong(
        "no other driver holds a card",
        "the cards are held: 0000:01:00.0 by nouveau",
        command=f"ln -sfn ../../../../bus/pci/drivers/nouveau $(readlink -f {CARD})/driver",
    ),
    "flavour": Wrong(
        "the loaded module is of the planned flavour",
        "proprietary",
        command="sed -i 's/Open Kernel Module for x86_64/x86_64 Kernel Module/' "
        f"{FOLDER}/root/proc/driver/nvidia/version",
    ),
    "undriven": Wrong(
        "every card on the bus is driven",
        "on the bus, and not with the driver: 0000:05:00.0",
        command=f"echo 0000:05:00.0 10de:2204 030000 >> {FOLDER}/cards; cd {FOLDER}/root/sys; "
        "cp -r devices/pci0000:00/0000:00:01.0 devices/pci0000:00/0000:00:05.0; cd bus/pci; "
        "ln -s ../../../devices/pci0000:00/0000:00:05.0/0000:01:00.0 devices/0000:05:00.0",
    ),
    "power": Wrong(
        "the power limits are in force",
        "is at 350.0 W, not at 280 W; it takes 100.0 to 366.0 W",
        driver=f'power_limits=(PowerLimit(gpu="{UUID}", watts=280),)',
    ),
    "option": Wrong(
        "the modules options are in force",
        "from the next load of the module on: NVreg_EnableResizableBar=1",
        driver='module_options=("NVreg_EnableResizableBar=1",)',
    ),
    "toolkit": Wrong(
        "cuda is of no newer major than the driver",
        "CUDA 14.0 is of a newer major than driver 580.178.04, which is of CUDA 13.0",
        command="printf '#!/bin/sh\\necho Cuda compilation tools, release 14.0, V14.0.1\\n' "
        "> /usr/local/bin/nvcc; chmod 755 /usr/local/bin/nvcc",
    ),
    "lanes": Wrong(
        "each card has the lanes that its slot gives",
        "runs on 4 lanes of 16; look at its seat",
        values={"pcie.link.width.current": "4"},
        outcome="warned",
    ),
    "generation": Wrong(
        "a busy cards link is as fast as it can be",
        "runs at PCIe 1 of 4; look at its riser",
        values={"pstate": "P0"},
        outcome="warned",
    ),
}
