"""A VM with its own boot loader is cut and rebooted, and comes up with its driver each time.

The kernels, GRUB, DKMS and the reboots are real. Stand-ins: the driver (lab/stand_ins), whose
module builds, loads and drives nothing, and the card.
"""

import logging
import os
from collections.abc import Callable, Iterator

import pytest

from deeprig.runs import Report
from deeprig.settings import Rig
from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.nvidia_repository import Repository
from tasks import boot_guard, manifest, reboot
from tests.lab.conftest import run_on
from tests.lab.guarded import (
    A_CARD,
    APT,
    DRIVER,
    FIRST,
    MENDED,
    Run,
    boot_id,
    guard,
    install_driver,
    shell,
    state,
)

pytestmark = pytest.mark.lab

OS, DIST = "debian-13", "debian13"


@pytest.fixture(scope="module")
def box() -> Iterator[boxes.Box]:
    """A VM with its one kernel, and what builds modules for it."""
    name = "g-boot-guard"
    if name in [box.name for box in boxes.every()]:
        boxes.down(name)
    yield boxes.up(name, os=OS, kind="vm", packages=("curl", "dkms", "gcc", "linux-headers-amd64"))
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture(scope="module")
def kernels(run: Run) -> tuple[str, str]:
    """The kernel that is there, and the one that comes later: the same for the cloud, which GRUB
    takes for the newer one.
    """
    there = run("uname -r").strip()
    return there, there.replace("-amd64", "-cloud-amd64")


@pytest.fixture(scope="module")
def nvidia(box: boxes.Box, kernels: tuple[str, str]) -> Iterator[Repository]:
    with nvidia_repository.serve([DIST], []) as repository:
        repository.offer(FIRST, fails_for=kernels[1])
        yield repository


def deploy(rig: Rig) -> None:
    guard(rig, A_CARD)
    reboot.when_due(rig=rig)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def failed(report: Report) -> str:
    return "".join(step.output for step in report.steps if step.status == "failed")


def up(run: Run) -> tuple[str, str]:
    """The kernel that is up, and the version of the module that is loaded in it."""
    kernel, version = run("uname -r; cat /sys/module/nvidia/version 2>&- || echo none").split()
    return kernel, version


def test_the_first_deploy_reboots_where_nouveau_holds_a_card(
    box: boxes.Box, kernels: tuple[str, str], run: Run, nvidia: Repository
) -> None:
    """It holds the card that stands in, until the next boot."""
    install_driver(run, nvidia, DIST)
    run("sudo mkdir -p /run/lab-card/nouveau && sudo ln -s nouveau /run/lab-card/driver")
    before = boot_id(run)
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert boot_id(run) != before
    assert up(run) == (kernels[0], FIRST)
    assert run_on(box, deploy).changes == []
    run(f"sudo tee {manifest.PATH}", stdin='{"deeprig": "before"}\n')


def test_after_a_power_cut_the_box_is_up_with_the_old_kernel_and_its_module(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    """A second kernel came, and its build failed."""
    said = run(f"{APT} install linux-image-{kernels[1]} linux-headers-{kernels[1]} 2>&1")
    assert "this stand-in was told not to build for this kernel" in said
    assert run("sudo dpkg --audit") == ""
    boxes.cut(box.name)
    assert up(run) == (kernels[0], FIRST)
    assert f"kernel {kernels[1]} is not fit to boot" in state(run)
    assert f"kernel {kernels[1]} is not fit to boot" in run("cat /run/motd.dynamic")
    assert run_on(box, deploy).changes == []


def test_a_newer_driver_waits_for_a_reboot_while_something_runs(
    box: boxes.Box, kernels: tuple[str, str], run: Run, nvidia: Repository,
    said: Callable[[], str],
) -> None:  # fmt: skip
    nvidia.offer(MENDED)
    run(f"sudo apt-get -q update && {APT} install {' '.join(DRIVER)}")
    before = boot_id(run)
    run("nohup sleep 900 > /dev/null 2>&1 < /dev/null &")
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert f"driver {FIRST} is loaded, {MENDED} installed" in said()
    assert "Left pending: there runs sleep of deeprig" in said()
    assert boot_id(run) == before


def test_an_idle_box_comes_up_with_the_newer_kernel_and_driver(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    run("pkill sleep")
    before = boot_id(run)
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert boot_id(run) != before
    assert up(run) == (kernels[1], MENDED)
    assert state(run) == f"ok {kernels[1]} boots next, with driver {MENDED}"
    assert run(f"ls {boot_guard.PIN}", check=False) == ""


def test_a_kernel_that_refuses_its_module_is_booted_once(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    """The module has all the right marks, and is another kernel's."""
    place = "/lib/modules/{}/updates/dkms/nvidia.ko*"
    old, new = (run(f"ls {place.format(kernel)}").strip() for kernel in kernels)
    run(f"sudo cp {new} /root/right.ko && sudo cp {old} {new} && sync")
    boxes.cut(box.name)
    assert up(run) == (kernels[1], "none")
    assert f"kernel {kernels[1]} is not fit to boot (modprobe: ERROR" in state(run)
    boxes.cut(box.name)
    assert up(run) == (kernels[0], MENDED)
    run(f"sudo cp /root/right.ko {new} && sudo {boot_guard.GUARD} look")
    assert state(run) == f"ok {kernels[1]} boots next, with driver {MENDED}"
