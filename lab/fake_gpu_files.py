"""What fake cards are made of: their answers, and what /proc and /sys would show of them."""

import json
import platform
import tomllib
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lab.errors import fail

FOLDER = "/etc/deeprig-lab-gpu"
PROGRAM = "/usr/local/bin/nvidia-smi"
DATA = Path(__file__).parent / "data"
# A register window of 16 MiB, in the form of the kernel.
MEMORY = (
    "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200\n"
    + f"{' '.join(['0x' + 16 * '0'] * 3)}\n" * 2
)
REMARK = "fake cards made by the lab of deeprig, nothing here is by NVIDIA"

Row = dict[str, Any]
Values = Mapping[str, str]


@cache
def table() -> Row:
    """All profiles, and the cards they are made of."""
    return tomllib.loads((DATA / "fake_gpus.toml").read_text())


def files(profile: str, *, driver: str, values: Values) -> dict[str, str]:
    """Path on the box -> content; one that begins with -> is a link."""
    if profile not in table()["profile"]:
        fail(f"no fake cards are named {profile!r}; there are: {', '.join(table()['profile'])}.")
    row = table()["profile"][profile]
    card = table()["usual"] | table()["card"][row["card"]]
    pci_id = f"10de:{card['pci.device_id'][2:6].lower()}"
    bus = [f"{address} {pci_id} {card['class']}" for address in row["addresses"]]
    devices = [*bus, *row.get("besides", [])]
    made = {
        f"{FOLDER}/profile": f"{profile}\n{REMARK}\n",
        f"{FOLDER}/cards": "".join(f"{line}\n" for line in devices),
        f"{FOLDER}/answers.json": json.dumps(_answers(row, card, driver, values), indent=1),
        PROGRAM: (DATA / "nvidia-smi").read_text(),
    }
    loaded = row.get("loaded", "{library}").format(library=driver, branch=driver.partition(".")[0])
    below = {**_module(card["flavour"], loaded), **_library(driver), **_bus(devices, card)}
    below["kernel.log"] = row.get("kernel", "")
    below["lspci"] = _lspci(bus, redirects=row.get("redirects", False))
    return {**made, **{f"{FOLDER}/root/{path}": text for path, text in below.items()}}


def _answers(row: Row, card: Row, driver: str, values: Values) -> Row:
    """What the fake nvidia-smi says."""
    cards = [
        {key: text for key, text in card.items() if key not in ("class", "flavour", "slot_width")}
        | {
            "index": str(index),
            "uuid": f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, address)}",
            "pci.bus_id": f"0000{address.upper()}",
            "driver_version": driver,
            **values,
        }
        for index, address in enumerate(row["addresses"])
    ]
    return {
        "cards": cards,
        "banner": _banner(driver),
        "topology": _topology(len(cards), row.get("link", "")),
        "status": row.get("status", 0),
        "hangs": row.get("hangs", False),
        "says": row.get("says", "").format(library=driver.rpartition(".")[0]),
    }


def _banner(driver: str) -> str:
    """The head of the table, whose words changed with 610."""
    branch = driver.partition(".")[0]
    cuda = table()["cuda"][branch]
    if int(branch) >= 610:
        return f"| NVIDIA-SMI {driver}    KMD Version: {driver}    CUDA UMD Version: {cuda}    |"
    return f"| NVIDIA-SMI {driver}    Driver Version: {driver}    CUDA Version: {cuda}    |"


def _topology(count: int, link: str) -> str:
    """`topo -m` of cards that are all joined alike, with the escapes and tabs of the real one."""
    names = [f"GPU{n}" for n in range(count)]
    head = "\t".join(["\x1b[4m", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID\x1b[0m"])
    rows = [
        "\t".join([a, *(" X " if a == b else link for b in names), "0-31\t0\t\tN/A"]) for a in names
    ]
    return "\n".join([head, *rows])


def _module(flavour: str, version: str) -> dict[str, str]:
    """What a loaded module shows of itself."""
    line = {
        "open": "NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (deeprig's lab)",
        "proprietary": "NVIDIA UNIX x86_64 Kernel Module  {}  Sat Feb 17 22:55:48 UTC 2024",
    }[flavour].format(version)
    return {
        "proc/driver/nvidia/version": f"NVRM version: {line}\nGCC version:  none: it is a fake\n",
        "proc/driver/nvidia/params": 'EnableResizableBar: 0\nRegistryDwords: ""\n',
        "sys/module/nvidia/version": f"{version}\n",
    }


def _library(version: str) -> dict[str, str]:
    folder = f"usr/lib/{platform.machine()}-linux-gnu"
    return {
        f"{folder}/{name}.so.{end}": content
        for name in ("libcuda", "libnvidia-ml")
        for end, content in ((version, f"{REMARK}\n"), ("1", f"->{name}.so.{version}"))
    }


def _bus(devices: list[str], card: Row) -> dict[str, str]:
    """Every device behind a bridge of its own, held by the driver; real links, as in sysfs."""
    entries = {"sys/bus/pci/drivers/nvidia/bind": ""}
    for number, (address, pci_id, pci_class) in enumerate(line.split() for line in devices):
        bridge = f"devices/pci0000:00/0000:00:{number + 1:02x}.0"
        folder = f"sys/{bridge}/{address}"
        entries |= {
            f"sys/bus/pci/devices/{address}": f"->../../../{bridge}/{address}",
            f"{folder}/vendor": "0x10de\n",
            f"{folder}/device": f"0x{pci_id[5:]}\n",
            f"{folder}/class": f"0x{pci_class}\n",
            f"{folder}/resource": MEMORY,
            f"{folder}/driver": "->../../../../bus/pci/drivers/nvidia",
            f"sys/{bridge}/max_link_width": f"{card.get('slot_width', 16)}\n",
        }
    return entries


def _lspci(bus: list[str], *, redirects: bool) -> str:
    """The bridges before the cards, as far as `lspci -Dnnvvv` is read."""
    sign = "+" if redirects else "-"
    return "".join(
        f"0000:00:{number + 1:02x}.0 PCI bridge [0604]: a fake one [1022:1483]\n"
        f"\t\tACSCtl:\tSrcValid{sign} TransBlk- ReqRedir{sign} CmpltRedir{sign}\n"
        for number in range(len(bus))
    )
