"""Eight B200 on a board of NVLink 5: planned, installed, verified; and on the day of a new default.

The packages are stand-ins and the cards that verify sees are fakes. The day is the planner's alone.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from lab import boxes, fake_gpu
from lab.fake_gpu_files import FOLDER
from lab.stand_ins import nvidia_repository
from lab.stand_ins.nvidia_repository import Repository
from tests.lab import drivers
from tests.lab.drivers import INSTALL, STATE
from tests.lab.test_gpu_live import ALONE, Verdict, _run, of_the_cards, reasons

pytestmark = pytest.mark.lab

NOW, LATER = date(2026, 11, 30), date(2027, 2, 2)  # the first day of 620 as the default
UMAD = f"{FOLDER}/root/sys/class/infiniband_mad"


@pytest.fixture(scope="module")
def served() -> Iterator[Repository]:
    """NVIDIA's repository with all that the stand-in knows."""
    with nvidia_repository.serve(["debian13"]) as repository:
        yield repository


def with_a_kernel(box: boxes.Box) -> None:
    """As the installer leaves it."""
    drivers.on(box, f"sudo apt-get -q update && {INSTALL} linux-image-amd64 initramfs-tools")


def inventory(box: boxes.Box, served: Repository, day: date) -> Path:
    """Settings that name the board's cards, and the planner's day."""
    known = f'mirror="{served.url}", repo_key="{served.fingerprint("debian13")}"'
    cards = ", ".join(['"B200"'] * 8)
    asked = f"driver=Driver(gpus=({cards}), {known})", f"cuda=Cuda({known})"
    return drivers.inventory(box, f"board-{day}.py", *asked, day=day)


@pytest.fixture(scope="module")
def file(box: boxes.Box, served: Repository) -> Path:
    with_a_kernel(box)
    return inventory(box, served, NOW)


def asked(box: boxes.Box, command: str) -> str:
    """What root of the box says."""
    login, environment = boxes.ssh_command(box)

    done = subprocess.run(
        [*login, f"sudo sh -c '{command}'"], env=environment, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def live_checks(file: Path) -> Verdict:
    """What verify says of the cards on the day of these settings."""
    return of_the_cards(_run(sys.executable, "-c", ALONE, str(file)).stdout)


def with_its_board(box: boxes.Box, driver: str, **values: str) -> None:
    fake_gpu.put(box, "eight-b200", driver=driver, values={"fabric.state": "Completed", **values})
    asked(box, f"mkdir -p {UMAD}; echo 5 > {UMAD}/abi_version")


def stands(box: boxes.Box, version: str, toolkit: str) -> None:
    """The driver with what its board needs: of one version, held, on at boot."""
    assert asked(box, STATE.removeprefix("sudo ")).startswith(f"ok {version} for ")
    there = asked(box, 'dpkg-query -W -f "\\${Package} \\${Version} "').split()
    found = dict(zip(there[::2], there[1::2], strict=True))
    assert found["nvidia-fabricmanager"] == found["libcuda1"] == f"{version}-1"
    assert found["nvlsm"] and f"cuda-minimal-build-{toolkit}" in found
    assert {"nvidia-fabricmanager", "libcuda1"} <= set(asked(box, "apt-mark showhold").split())
    assert asked(box, "systemctl is-enabled nvidia-fabricmanager").strip() == "enabled"
    assert "ib_umad" in asked(box, "cat /etc/modules-load.d/deeprig-fabric.conf")


def test_the_board_gets_what_it_needs(box: boxes.Box, file: Path) -> None:
    drivers.moved(drivers.run(box, file))
    stands(box, "580.178.04", "13-1")
    assert drivers.moved(drivers.run(box, file)) == []


def test_it_verifies_with_its_fabric_up(box: boxes.Box, file: Path) -> None:
    with_its_board(box, "580.178.04")
    lacking = live_checks(file)
    assert list(reasons(lacking, "failed")) == ["the fabric manager runs"]  # no card started it
    asked(box, "systemctl start nvidia-fabricmanager")
    found = live_checks(file)
    assert reasons(found, "failed") == reasons(found, "warned") == {}
    for check in ("fabric manager runs", "subnet manager reaches the switches"):
        assert found[f"the {check}"]["outcome"] == "passed"
    assert found["the cards are in their fabric"]["outcome"] == "passed"
    asked(box, f"rm -r {UMAD}")
    said = reasons(live_checks(file), "failed")
    assert list(said) == ["the subnet manager reaches the switches"]


def test_on_the_day_of_another_default_nothing_moves_and_nothing_fails(
    box: boxes.Box, file: Path, served: Repository
) -> None:
    later = inventory(box, served, LATER)
    fake_gpu.take_out(box)
    assert drivers.moved(drivers.run(box, later)) == []
    stands(box, "580.178.04", "13-1")
    with_its_board(box, "580.178.04")
    assert reasons(live_checks(later), "failed") == {}


def test_a_new_box_gets_that_days_default(served: Repository) -> None:
    name = "t-nvlink-later"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    new = boxes.up(name, os="debian-13")
    try:
        with_a_kernel(new)
        file = inventory(new, served, LATER)
        drivers.moved(drivers.run(new, file))
        stands(new, "620.70.06", "13-2")
        assert drivers.moved(drivers.run(new, file)) == []
        asked(new, "systemctl start nvidia-fabricmanager")
        with_its_board(new, "620.70.06")
        assert reasons(live_checks(file), "failed") == {}
    finally:
        boxes.down(name)
