"""NVIDIA's driver built on the box by DKMS, from a stand-in for NVIDIA's repository.

The modules are tiny and drive nothing, but DKMS builds them for the kernel that is there: Debian's
own on Debian, a stand-in on the ubuntu-like box. First all that goes wrong, then the whole job.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import boxes
from lab.stand_ins import nvidia_repository, ubuntu_archive
from lab.stand_ins.nvidia_repository import Trouble
from tests.lab import drivers
from tests.lab.conftest import cut_while, deploy
from tests.lab.drivers import INSTALL, RTX_3090, STATE, Login

pytestmark = pytest.mark.lab

DISTS = {"debian-12": "debian12", "debian-13": "debian13", "ubuntu-like": "ubuntu2404"}
UPDATE = "sudo apt-get -q update"
LIBRARY = {"debian": "libcuda1", "ubuntu": "libnvidia-compute-580"}
# Where Debian 13's apt is told of NVIDIA's key, and what we put beside it.
OURS = "find /etc/apt /etc/modprobe.d -name '*deeprig-nvidia*' -o -name '*nouveau*' | sort"


@pytest.fixture(scope="module")
def dist(box: boxes.Box) -> str:
    return DISTS[box.os]


@pytest.fixture(scope="module")
def served(box: boxes.Box, dist: str) -> Iterator[Any]:
    """NVIDIA's repository with one driver, which does not build for any kernel."""
    with nvidia_repository.serve([dist], ["580.173.02"], fails_for="%") as repository:
        yield repository


@pytest.fixture(scope="module")
def unconfirmed(box: boxes.Box, served: Any, with_a_kernel: None) -> Path:
    """The settings of somebody who never said that the mirror's key is right."""
    mirror = f'mirror="{served.url}"'
    asked = f'driver=Driver(gpus=("{RTX_3090}",), source="nvidia", {mirror})'
    return drivers.inventory(box, "unconfirmed.py", asked, f"cuda=Cuda({mirror})")


@pytest.fixture(scope="module")
def file(unconfirmed: Path, served: Any, dist: str) -> Path:
    known = unconfirmed.with_name("nvidia.py")
    mirror = f'mirror="{served.url}"'
    key = f'{mirror}, repo_key="{served.fingerprint(dist)}"'
    known.write_text(unconfirmed.read_text().replace(mirror, key))
    return known


@pytest.fixture(scope="module")
def with_a_kernel(box: boxes.Box) -> Iterator[None]:
    """A kernel as the installer leaves it."""
    if box.os == "ubuntu-like":
        with ubuntu_archive.serve() as ubuntu:
            kernel = f"{INSTALL} initramfs-tools && {INSTALL} linux-generic"
            drivers.on(box, f"{ubuntu.setup}\n{UPDATE} && {kernel}")
            yield
    else:
        drivers.on(box, f"{UPDATE} && {INSTALL} linux-image-amd64 initramfs-tools")
        yield


@pytest.fixture(scope="module")
def library(box: boxes.Box) -> str:
    """The package of libcuda."""
    return LIBRARY[box.os.partition("-")[0]]


def nothing_is_left(login: Login) -> None:
    there = login(
        "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' '*nvidia*' 2>/dev/null || true"
    )
    assert [line for line in there.splitlines() if not line.startswith("not-installed")] == []
    assert login("sudo dpkg --audit") == ""
    assert login("apt-mark showhold") == ""
    assert login("systemctl list-units --failed --plain --no-legend") == ""
    assert "Inst hello " in login("apt-get -s install hello")


def test_a_key_that_nobody_confirmed_is_shown_and_nothing_listed(
    box: boxes.Box, unconfirmed: Path, served: Any, dist: str, login: Login
) -> None:
    said = drivers.refused(drivers.run(box, unconfirmed))
    assert "which deeprig does not know" in said
    assert f'Driver(repo_key="{served.fingerprint(dist)}")' in said
    assert login(OURS) == ""
    nothing_is_left(login)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble.WRONG_KEY, "signed with another key than the one it hands out"),
        (Trouble.HALF_WRITTEN, "serves a half-written index"),
    ],
)
def test_a_repository_at_fault_is_told_and_nothing_listed(
    box: boxes.Box, file: Path, served: Any, login: Login, trouble: Trouble, words: str
) -> None:
    served.put(trouble)
    report = drivers.run(box, file)
    served.put(Trouble.NONE)
    assert words in drivers.refused(report)
    assert login(OURS) == ""
    nothing_is_left(login)


def test_packages_that_are_not_there_are_told_and_nothing_is_left(
    box: boxes.Box, file: Path, served: Any, login: Login
) -> None:
    served.put(Trouble.NO_PACKAGES)
    report = drivers.run(box, file)
    served.put(Trouble.NONE)
    assert "404" in drivers.refused(report)
    nothing_is_left(login)


def test_a_failed_build_is_told_in_one_sentence_with_the_end_of_its_log(
    file: Path, login: Login
) -> None:
    done = deploy(file)
    said = drivers.sentence(done, "the driver's modules do not build (")
    assert "this stand-in was told not to build for this kernel" in said
    assert "what came was taken out again, and the box is as before" in said
    assert '#error "this stand-in was told not to build' in done.stdout + done.stderr
    login("test -s /var/log/deeprig/driver-make.log")
    nothing_is_left(login)
    assert login("find /etc/modprobe.d -name '*nouveau*'") == ""
    assert login(STATE).startswith("not installed: ")


def test_a_power_cut_in_the_installation_goes_unharmed(
    box: boxes.Box, file: Path, served: Any, login: Login
) -> None:
    """The next point release builds; the power fails while dpkg is at work."""
    served.offer("580.178.04")
    served.offer("615.71.09")
    cut_while(box, "Install the driver and its modules", 0, file, program="dkms")
    login("true")
    assert not login(STATE).startswith("ok ")


def test_a_driver_that_builds_is_there_whole(file: Path, login: Login) -> None:
    """The same command again does the whole job."""
    done = deploy(file)
    assert done.returncode == 0, done.stdout + done.stderr
    kernel = login("ls /lib/modules | tail -n 1").strip()
    assert login(STATE).strip() == f"ok 580.178.04 for {kernel}"
    assert login(f"sudo modinfo -k {kernel} -F license nvidia").strip() == "Dual MIT/GPL"
    assert f"nvidia/580.178.04, {kernel}, x86_64: installed" in login("sudo dkms status")


def test_the_branch_was_pinned_before_anything_was_resolved(login: Login) -> None:
    runs = [names for names in drivers.transactions(login) if any("nvidia" in n for n in names)]
    pinned = max(n for n, names in enumerate(runs) if names == ["nvidia-driver-pinning-580"])
    built = max(n for n, names in enumerate(runs) if any("-dkms" in name for name in names))
    assert pinned < built
    assert login("dpkg-query -W cuda cuda-drivers nvidia-open 2>/dev/null || true") == ""


def test_a_second_deploy_changes_nothing(file: Path) -> None:
    assert drivers.changes(deploy(file)) == []


def test_it_verifies(file: Path) -> None:
    passed = drivers.verified(file)["passed"]
    for check in (
        "driver: dkms says installed for every kernel",
        "driver: exactly the drivers packages are held",
        "nvidia_repository: it stands as it was compared",
    ):
        assert check in passed


def test_nothing_moves_though_newer_ones_are_offered(
    box: boxes.Box, login: Login, served: Any, file: Path, library: str
) -> None:
    """A point release and newer branches; without the holds the pin still keeps to the branch."""
    before = drivers.packages(login)
    served.offer("580.190.01")
    served.offer("610.57.04")
    login(UPDATE)
    assert drivers.would_move(login, "dist-upgrade", set(before)) == set()
    assert drivers.moved(drivers.run(box, file)) == []
    assert drivers.packages(login) == before

    login(f"sudo apt-mark unhold {' '.join(before)}")
    said = login("apt-get -s dist-upgrade")
    assert f"Inst {library} [580.178.04" in said  # the control: the hold is what keeps it
    assert "610.57.04" not in said
    assert "615.71.09" not in said
    login("sudo mv /etc/apt/preferences.d/nvidia-driver-pin /root/")
    without = login(f"apt-cache policy {library}")
    login("sudo mv /root/nvidia-driver-pin /etc/apt/preferences.d/")
    if library == "libcuda1":  # on Ubuntu the name itself has the branch
        assert "Candidate: 615.71.09-1" in without  # the control: the pin is what keeps it
    assert drivers.moved(drivers.run(box, file)) == [
        "NVIDIA driver | Hold the driver, package by package"
    ]


def test_unattended_upgrades_that_may_take_from_nvidia_leave_it_alone(
    login: Login, library: str
) -> None:
    """The real program, told that NVIDIA's packages are its business; each lock by itself."""
    before = drivers.packages(login)
    told = "/etc/apt/apt.conf.d/99-from-nvidia"
    login(
        "echo 'Unattended-Upgrade::Origins-Pattern { \"origin=NVIDIA\"; };' | "
        f"sudo tee {told} > /dev/null"
    )
    every = " ".join(before)
    login(f"sudo apt-mark unhold {every}; sudo unattended-upgrade")
    assert drivers.packages(login, list(before)) == before
    login(f"sudo mv /etc/apt/apt.conf.d/deeprig-driver.conf /root/; sudo apt-mark hold {every}")
    login("sudo unattended-upgrade")
    assert drivers.packages(login, list(before)) == before
    login(f"sudo apt-mark unhold {every}")
    control = login("sudo unattended-upgrade --dry-run --verbose 2>&1")
    login(f"sudo rm {told}; sudo mv /root/deeprig-driver.conf /etc/apt/apt.conf.d/")
    login(f"sudo apt-mark hold {every}")
    assert library in control


def test_another_packages_wish_does_not_move_it(login: Login) -> None:
    assert drivers.would_move(login, "install nvtop", set(drivers.packages(login))) == set()


def test_a_module_that_is_gone_is_built_again(box: boxes.Box, login: Login, file: Path) -> None:
    kernel = login("ls /lib/modules | tail -n 1").strip()
    # A kernel with modules of its own has a modules.dep; DKMS makes none for one without.
    login(f"sudo dkms uninstall -m nvidia -v 580.178.04 -k {kernel} && sudo depmod {kernel}")
    assert f"there is no nvidia for kernel {kernel}" in login(STATE)
    assert drivers.moved(drivers.run(box, file)) == [
        "NVIDIA driver | Install the driver, with modules for every kernel"
    ]
    assert login(STATE).strip() == f"ok 580.178.04 for {kernel}"


def test_the_record_on_the_box_names_the_packages_kept_for_a_bad_day(
    login: Login, library: str
) -> None:
    kept = login("ls /var/lib/deeprig/driver-debs/580.178.04").split()
    assert any(file.startswith(f"{library}_") for file in kept)
    decided = json.loads(login("cat /var/lib/deeprig/manifest.json"))["decided"]["stack"]
    assert decided["driver_branch"] == "580"
