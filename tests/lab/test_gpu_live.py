"""The live checks meet fake cards: all is well, or exactly what is wrong is told.

The cards, their driver and a kernel are pretended; nothing is installed. So of what verify says
only the live checks of the cards count here, and all of those are marked as fake.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from platform import machine
from typing import Any

import pytest

from lab import boxes, fake_gpu
from lab.fake_gpu_files import FOLDER
from tests.lab.conftest import DEEPRIG, ROOT, variant
from tests.lab.test_notify import as_root
from tests.lab.wrong_cards import UUID, WRONGS

pytestmark = pytest.mark.lab

Login = Callable[..., str]
Verdict = dict[str, dict[str, Any]]
NEWER = "595.91.07"
EMPTY_PACKAGE = """
d=$(mktemp -d); mkdir $d/DEBIAN; printf '%s\\n' 'Package: {name}' 'Version: {version}' \
'Architecture: all' 'Maintainer: deeprig lab <lab@deeprig.invalid>' \
"Description: empty, made by deeprig's lab" > $d/DEBIAN/control
dpkg-deb -b $d $d.deb && dpkg -i $d.deb && rm -r $d $d.deb
"""


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
from deeprig_cli.verify.runner import Collector
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
    assert len(reasons(found, "passed")) >= 14
    assert all(check["fake"] for check in found.values())
    assert "ECC n/a" in found["mig ecc and compute mode are as their owner left them"]["reason"]
    assert found["cuda is of no newer major than the driver"]["outcome"] == "passed"


def test_it_is_said_that_a_fake_card_proves_nothing(inventory: Callable[..., Path]) -> None:
    said = _verify(inventory('branch="595"'), "--all")
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


def test_a_board_that_hides_its_switches_is_told(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "eight-b200")
    found = check()
    assert list(reasons(found, "failed")) == [
        "the fabric manager runs",
        "the subnet manager reaches the switches",
        "the cards are in their fabric",
    ]
    assert "nvlsm" in reasons(found, "failed")["the fabric manager runs"]
    assert "is In Progress" in reasons(found, "failed")["the cards are in their fabric"]
    assert found["nothing is wanting in the plan"]["outcome"] == "passed"  # it brings nvlsm


def test_a_fabric_manager_of_another_build_is_told(
    box: boxes.Box, login: Login, check: Callable[..., Verdict]
) -> None:
    """By a package of that name and version with nothing in it."""
    fake_gpu.put(box, "eight-h100")
    login(as_root(EMPTY_PACKAGE.format(name="nvidia-fabricmanager-580", version="580.173.02-1")))
    found = check()
    login("sudo dpkg -r nvidia-fabricmanager-580")
    assert (
        reasons(found, "failed")["the fabric managers version is the drivers"]
        == "driver 580.178.04 is loaded, and nvidia-fabricmanager-580 is 580.173.02"
    )


def test_a_driver_that_hangs_ends_verify_with_one_sentence(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "hangs")
    started = time.monotonic()
    found = check()
    assert time.monotonic() - started < 240
    [said] = reasons(found, "failed").values()
    assert said.startswith("nvidia-smi has not answered within 60 s: the driver hangs")
    told = reasons(found, "warned")["no card has failed since the boot"]
    assert told.startswith("GPU 0000:01:00: its own firmware (GSP) does not answer")


def test_a_card_that_does_not_start_is_not_called_lost(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "no-start")
    [said] = reasons(check(), "failed").values()
    assert said.startswith("GPU 0000:01:00.0 does not answer: its firmware (GSP) does not start;")


def test_what_cannot_be_read_is_a_warning_and_not_off(
    box: boxes.Box, check: Callable[..., Verdict]
) -> None:
    values = {
        "persistence_mode": "[Unknown Error]", "temperature.gpu": "ERR!", "power.limit": "[N/A]",
        "compute_mode": "[N/A]", "pcie.link.width.current": "[Unknown Error]",
    }  # fmt: skip
    fake_gpu.put(box, "one-3090", values=values)
    found = check()
    assert reasons(found, "failed") == {}
    told = reasons(found, "warned")
    assert "cannot tell " in told["every card says what it is asked"]
    assert "temperature.gpu" in told["every card says what it is asked"]
    assert "does not say whether" in told["persistence is on"]


def test_libraries_that_are_newer_than_the_module_are_told(
    box: boxes.Box, verify: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "mismatch")
    assert reasons(verify(), "failed") == {
        "nvidia smi answers": "nvidia-smi says 'Driver/library version mismatch': the loaded "
        "module and the libraries are not of one version: the driver was updated under it; reboot, "
        "and where that does not mend it a library that no package owns is in the way, which "
        "`deeprig driver status` names.",
        "module library and plan are one version": "the module that is loaded is 580.1.01, "
        f"libcuda.so.1 is 580.178.04 ({FOLDER}/root/usr/lib/{machine()}-linux-gnu/"
        "libcuda.so.580.178.04); `deeprig driver status` says whose it is",
    }


def test_a_stray_library_for_nvidia_smi_alone_is_told(
    box: boxes.Box, login: Login, check: Callable[..., Verdict]
) -> None:
    fake_gpu.put(box, "one-3090")
    folder = f"{FOLDER}/root/usr/lib/{machine()}-linux-gnu"
    stray = f"{folder}/libnvidia-ml.so.590.44.01"
    login(as_root(f"touch {stray}; ln -sfn {stray} {folder}/libnvidia-ml.so.1"))
    [said] = reasons(check(), "failed").values()
    assert "libnvidia-ml.so.1 is 590.44.01" in said


def test_a_lost_card_is_told(box: boxes.Box, verify: Callable[..., Verdict]) -> None:
    fake_gpu.put(box, "gpu-lost")
    assert reasons(verify(), "failed") == {
        "nvidia smi answers": "GPU 0000:02:00.0 is lost: it fell off the bus; power off and on "
        "again, and if it stays, look at its seat, riser and power cables."
    }


@pytest.mark.parametrize("name", WRONGS)
def test_one_wrong_thing_is_noticed_by_one_check(
    box: boxes.Box, login: Login, check: Callable[..., Verdict], name: str
) -> None:
    wrong = WRONGS[name]
    fake_gpu.put(box, "one-3090", values=wrong.values)
    login(as_root(wrong.command))
    found = check(wrong.driver)
    login("sudo rm -f /usr/local/bin/nvcc")
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
