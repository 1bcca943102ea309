"""The live checks and the watch meet fake cards: all is well, or exactly what is wrong is told.

The cards, their driver and a kernel are pretended; nothing is installed. So of what verify says
only the live checks of the cards count here, and all of those are marked as fake.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab import boxes, fake_gpu
from lab.fake_gpu_files import FOLDER
from tests.lab.conftest import DEEPRIG, ROOT, run_on, variant
from tests.lab.receivers import Ntfy
from tests.lab.test_notify import LOOK, as_root, send_to

pytestmark = pytest.mark.lab

Login = Callable[..., str]
Verdict = dict[str, dict[str, Any]]
NEWER = "595.91.07"
UUID = "GPU-955ddd45-3e91-5ca4-86ec-14da31fba132"  # of the card at 0000:01:00.0, in every profile
FORGET = "sudo /usr/local/lib/deeprig/watch --forget-gpus"
CARD = f"{FOLDER}/root/sys/bus/pci/devices/0000:01:00.0"


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Callable[..., Path]:
    """The box's own inventory with a driver of these settings, and without what needs a deploy."""

    def made(driver: str = "") -> Path:
        return variant(
            box,
            box.inventory.with_name("gpu.py"),
            ("import Notebook,", "import Driver, Notebook, PowerLimit,"),
            ('notebook=Notebook(user="ai")', f"notebook=None, driver=Driver({driver})"),
            ('python=Python(python="system")', "python=None"),
        )

    subprocess.run(
        [DEEPRIG, "lab", "ssh", box.name, "sudo touch /boot/vmlinuz-6.12.1-amd64"],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return made


@pytest.fixture
def verify(inventory: Callable[..., Path]) -> Callable[..., Verdict]:
    """What `deeprig verify --json` says of the cards, by check."""

    def verdict(driver: str = "") -> Verdict:
        return of_the_cards(_verify(inventory(driver), "--json").stdout)

    return verdict


@pytest.fixture
def check(inventory: Callable[..., Path]) -> Callable[..., Verdict]:
    """The same, with the other components left out, which takes a tenth of the time."""

    def verdict(driver: str = "") -> Verdict:
        return of_the_cards(_run(sys.executable, "-c", ALONE, str(inventory(driver))).stdout)

    return verdict


ALONE = """
import json, sys, pytest
from deeprig.checks import Collector
found = Collector(lambda check: None)
options = ["-p", "no:cacheprovider", "--tb=no", "tests/host/test_gpu_live.py"]
pytest.main([*options, "--inventory", sys.argv[1]], plugins=[found])
print(json.dumps([check.to_json() for check in found.checks]))
"""


def of_the_cards(said: str) -> Verdict:
    return {c["check"]: c for c in json.loads(said) if c["component"] == "gpu_live"}


def _verify(inventory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return _run(DEEPRIG, "verify", "--inventory", str(inventory), *more)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )


def reasons(found: Verdict, outcome: str) -> dict[str, str]:
    return {name: check["reason"] for name, check in found.items() if check["outcome"] == outcome}


def test_with_one_card_all_is_well_and_marked_as_fake(
    box: boxes.Box, verify: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "one-3090", driver=NEWER)
    found = verify('branch="595"')
    assert reasons(found, "failed") == reasons(found, "warned") == {}
    assert len(reasons(found, "passed")) >= 15
    assert all(check["fake"] for check in found.values())
    assert "ECC n/a" in found["mig ecc and compute mode are as their owner left them"]["reason"]
    assert found["cuda is not newer than the driver"]["outcome"] == "passed"


def test_it_is_said_that_a_fake_card_proves_nothing(inventory: Callable[..., Path]) -> None:
    said = _verify(inventory('branch="595"'))
    assert said.returncode != 0
    assert "ran on a fake GPU, which proves nothing of a real one" in said.stdout
    assert "gpu_live: 0 ran, at least 6 must" in said.stdout
    assert "nvidia smi answers [fake GPU]" in said.stdout


def test_four_older_cards_with_redirecting_bridges_are_warned_of(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "four-1080ti")
    found = check()
    assert reasons(found, "failed") == {}
    assert found["how the cards are joined"]["reason"] == "between the cards: PHB"
    acs = "no bridge sends traffic between cards through the processor"
    assert acs in reasons(found, "warned")
    lanes = "each card has the lanes that its slot gives"
    assert found[lanes]["outcome"] == "passed"  # eight lanes are all that its slot has


def test_eight_cards_behind_switches_need_the_fabric_manager(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "eight-h100")
    found = check()
    assert list(reasons(found, "failed")) == ["the fabric manager runs"]
    assert found["how the cards are joined"]["reason"] == "between the cards: NV18"
    assert "ECC Enabled" in found["mig ecc and compute mode are as their owner left them"]["reason"]


def test_libraries_that_are_newer_than_the_module_are_told(
    box: boxes.Box, verify: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "mismatch")
    assert reasons(verify(), "failed") == {
        "nvidia smi answers": "nvidia-smi says 'Driver/library version mismatch': the loaded "
        "module is older than the libraries: the driver was updated under it; reboot.",
        "module library and plan are one version": "the module that is loaded is 580.1.01, the "
        "library is 580.178.04",
    }


def test_a_lost_card_is_told(box: boxes.Box, verify: Callable[..., Verdict]) -> None:
    fake_gpu.put(box, "gpu-lost")
    assert reasons(verify(), "failed") == {
        "nvidia smi answers": "GPU 0000:02:00.0 is lost: it fell off the bus; power off and on "
        "again, and if it stays, look at its seat, riser and power cables."
    }


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
        "'0000:01:00.0': '7.5'",
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
    "path": Wrong(
        "no library path is set: login shell",
        "a login shell has it: /usr/lib/cuda",
        command="echo export LD_LIBRARY_PATH=/usr/lib/cuda > /etc/profile.d/lab.sh",
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


@pytest.mark.parametrize("name", WRONGS)
def test_one_wrong_thing_is_noticed_by_one_check(
    box: boxes.Box, login: Login, check: Callable[..., Verdict], name: str
) -> None:
    wrong = WRONGS[name]
    fake_gpu.put(box, "one-3090", values=wrong.values)
    login(as_root(wrong.command))
    found = check(wrong.driver)
    login("sudo rm -f /etc/profile.d/lab.sh")
    assert list(reasons(found, "failed")) == ([wrong.check] if wrong.outcome == "failed" else [])
    assert wrong.words in reasons(found, wrong.outcome)[wrong.check]


def test_a_limit_that_is_set_is_seen(
    box: boxes.Box, login: Login, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "one-3090")
    login(f"sudo nvidia-smi -i {UUID} -pl 280")
    found = check(f'power_limits=(PowerLimit(gpu="{UUID}", watts=280),)')
    assert found["the power limits are in force"]["outcome"] == "passed"


def test_where_there_is_no_card_the_checks_are_skipped(
    box: boxes.Box, login: Login, check: Callable[..., Verdict]
) -> None:
    fake_gpu.take_out(box)
    assert login(f"ls -d {FOLDER} /usr/local/bin/nvidia-smi 2>/dev/null || true") == ""
    found = check('gpus=("10de:2204",)')
    assert reasons(found, "failed") == {}
    assert "there is no NVIDIA card in the box" in reasons(found, "skipped")["nvidia smi answers"]
    assert not any(one["fake"] for one in found.values())


@pytest.fixture
def ntfy(box: boxes.Box) -> Iterator[Ntfy]:
    made = Ntfy()
    made.start()
    report = run_on(box, send_to(made.url("topic")))
    assert report.error is None, report.steps
    made.titles()
    yield made
    made.stop()


def test_the_watch_tells_lost_cards(box: boxes.Box, login: Login, ntfy: Ntfy) -> None:
    fake_gpu.put(box, "four-1080ti")
    login(LOOK)
    assert ntfy.titles() == []  # the control
    login(f"sudo rm {FOLDER}/root/sys/bus/pci/devices/0000:42:00.0")
    login(LOOK)
    assert ntfy.titles() == ["a GPU 10de:1b06 is gone [fake GPU]"]
    fake_gpu.take_out(box)
    login(FORGET)
    assert ntfy.titles() == ["over: a GPU 10de:1b06 is gone [fake GPU]"]

    fake_gpu.put(box, "gpu-lost")
    login(LOOK)
    [message] = ntfy.got
    assert message.text.startswith("nvidia-smi says: Unable to determine the device handle")
    assert ntfy.titles() == ["a GPU is lost [fake GPU]"]
    fake_gpu.take_out(box)
    login(FORGET)
    assert ntfy.titles() == ["over: a GPU is lost [fake GPU]"]
