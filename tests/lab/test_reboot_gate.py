"""A reboot of ours: proved beforehand, made only where nothing runs, proved afterwards.

The reason for a reboot is a stand-in, for a container has no card; the reboots are real.
"""

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import pytest

from deeprig.operations import files
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.deb import Package
from tasks import boot_guard, manifest, reboot
from tests.lab.conftest import host_data, run_on
from tests.lab.guarded import (
    DISTS,
    FIRST,
    OWED,
    WHOLE,
    Run,
    archive_kernels,
    boot_id,
    guard,
    install_driver,
    install_kernel,
    shell,
)

pytestmark = pytest.mark.lab

NOUVEAU = "/etc/modprobe.d/50-deeprig-nouveau.conf"
SOURCE = f"/usr/src/nvidia-{FIRST}"
WHY = "a stand-in says so"
WENT_ON = "/etc/deeprig/lab-went-on"


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture(scope="module")
def kernel(box: boxes.Box, run: Run) -> Iterator[str]:
    """The newest of the archive, with the driver and the guard."""
    newest = archive_kernels(run, box.os, WHOLE)[-1]
    install_kernel(run, newest)
    with nvidia_repository.serve([DISTS[box.os]], [FIRST]) as repository:
        install_driver(run, repository, DISTS[box.os])
    report = run_on(box, guard)
    assert report.error is None, report.steps[-1].output
    yield newest


@pytest.fixture
def owed(kernel: str, run: Run) -> Iterator[str]:
    """A reboot is owed until it is made; the boot that it is owed in."""
    now = boot_id(run)
    run(f"sudo rm -f {WENT_ON} && sudo tee {OWED}", stdin=f"{now} {WHY}\n")
    yield now
    run(f"sudo rm -f {OWED}")


@pytest.fixture
def deployed_before(run: Run) -> Iterator[None]:
    run(f"sudo tee {manifest.PATH}", stdin='{"deeprig": "before"}\n')
    yield
    run(f"sudo rm -f {manifest.PATH}")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def deploy(
    box: boxes.Box, policy: Literal["when-idle", "ask", "never"] = "when-idle", **asked: str
) -> Report:
    """The end of a deploy, and something that comes behind it."""

    def build(rig: Rig) -> None:
        reboot.when_due(rig=replace(rig, reboot=policy))
        files.put(name="Go on", dest=WENT_ON, content="it went on")

    return runs.run(box.name, host_data(box) | asked, build)


def sentence(report: Report) -> str:
    return "".join(step.output for step in report.steps if step.status == "failed").strip()


BROKEN = Package(
    {
        "Package": "lab-fails", "Version": "1", "Architecture": "all",
        "Maintainer": "deeprig's lab", "Description": "deeprig lab stand-in: it fails",
    },
    scripts={"postinst": "#!/bin/sh\nexit 1\n"},
)  # fmt: skip
ASKED = f"--force -m nvidia -v {FIRST} -k {{kernel}}"
REBUILD = f"sudo dkms build {ASKED} && sudo dkms install {ASKED}"
MODULES = "/lib/modules/{kernel}/updates/dkms"
# A small /boot of its own, as full as one that nobody ever looked after.
SMALL = (
    "sudo mkdir /mnt/boot && "
    "sudo mount -t tmpfs -o size=$(du -sm /boot | cut -f1)M,mode=755 lab /mnt/boot"
)
REFUSALS = {
    "module": (
        f"sudo mv {MODULES} /root/dkms && sudo depmod {{kernel}}",
        f"there is no nvidia for kernel {{kernel}}; `sudo {boot_guard.GUARD} rebuild {{kernel}}`",
        f"sudo mv /root/dkms {MODULES} && sudo depmod {{kernel}}",
    ),
    "version": (
        f"sudo sed -i.lab 's/{FIRST}/570.1.1/' {SOURCE}/nvidia.c && {REBUILD}",
        f"nvidia for kernel {{kernel}} is 570.1.1, and the packages are {FIRST}",
        f"sudo mv {SOURCE}/nvidia.c.lab {SOURCE}/nvidia.c && {REBUILD}",
    ),
    "licence": (
        f"sudo sed -i.lab 's,Dual MIT/GPL,GPL,' {SOURCE}/nvidia.c && {REBUILD}",
        "nvidia for kernel {kernel} has licence 'GPL', which is not the open one",
        f"sudo mv {SOURCE}/nvidia.c.lab {SOURCE}/nvidia.c && {REBUILD}",
    ),
    "dkms": (
        "sudo mv /var/lib/dkms/nvidia/kernel-{kernel}-$(uname -m) /root/link",
        f"DKMS does not have nvidia {FIRST} installed for kernel {{kernel}}",
        "sudo mv /root/link /var/lib/dkms/nvidia/kernel-{kernel}-$(uname -m)",
    ),
    "nouveau": (
        "echo nouveau | sudo tee -a /etc/initramfs-tools/modules && "
        f"sudo update-initramfs -u -k {{kernel}} && sudo touch {NOUVEAU}",
        "/boot/initrd.img-{kernel} would load nouveau; `sudo update-initramfs -u -k {kernel}`",
        # It still holds nouveau then, and the blacklist too.
        "sudo update-initramfs -u -k {kernel}",
    ),
    "initramfs": (
        "sudo cp /boot/initrd.img-{kernel} /root/ && sudo truncate -s 1M /boot/initrd.img-{kernel}",
        "/boot/initrd.img-{kernel} cannot be read to its end",
        "sudo mv /root/initrd.img-{kernel} /boot/",
    ),
    "room": (
        f"{SMALL} && sudo cp -a /boot/. /mnt/boot && sudo mount --bind /mnt/boot /boot",
        "/boot has 0 MB left, and a kernel with its initramfs needs",
        "sudo umount /boot && sudo umount /mnt/boot && sudo rmdir /mnt/boot",
    ),
    "dpkg": (
        "sudo dpkg -i /tmp/lab-fails.deb || true",
        "dpkg has not finished lab-fails; `sudo dpkg --configure -a` does, or says why",
        "sudo dpkg --purge lab-fails",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_box_that_would_come_up_without_its_driver_is_not_rebooted(
    box: boxes.Box, kernel: str, owed: str, run: Run, what: str
) -> None:
    run("base64 -d > /tmp/lab-fails.deb", stdin=base64.b64encode(BROKEN.content).decode())
    spoil, words, mend = (text.replace("{kernel}", kernel) for text in REFUSALS[what])
    run(spoil)
    try:
        report = deploy(box)
        assert report.error is not None
        assert words in sentence(report)
        assert sentence(report).startswith(f"No reboot: kernel {kernel} boots next, and ")
        assert len(sentence(report).splitlines()) == 1
        assert boot_id(run) == owed
        assert run(f"ls {WENT_ON}", check=False) == ""
    finally:
        run(mend)
    assert run(f"sudo {boot_guard.GATE} check") == f"ok {kernel}\n"


def test_never_is_never(
    box: boxes.Box, owed: str, run: Run, said: Callable[[], str], deployed_before: None
) -> None:
    assert deploy(box, "never", reboot="now").error is None
    assert f"A reboot is owed: {WHY}. Left pending: Rig.reboot is" in said()
    assert boot_id(run) == owed
    assert run(f"cat {WENT_ON}") == "it went on\n"


def test_work_on_a_card_is_never_interrupted_by_itself(
    box: boxes.Box, owed: str, run: Run, said: Callable[[], str]
) -> None:
    """The card is a stand-in: a file of its name, which a program has open."""
    run("sudo touch /dev/nvidia0 && sudo systemd-run -q --unit lab-work tail -f /dev/nvidia0")
    assert deploy(box).error is None
    assert "Left pending: there runs tail of root; the next deploy makes it" in said()
    assert boot_id(run) == owed
    run("sudo systemctl stop lab-work; sudo rm /dev/nvidia0")


def test_people_who_are_there_are_left_in_peace_except_by_the_first_deploy(
    box: boxes.Box, owed: str, run: Run, said: Callable[[], str], deployed_before: None
) -> None:
    run("nohup sleep 300 > /dev/null 2>&1 < /dev/null &")
    assert deploy(box).error is None
    assert "Left pending: there runs sleep of deeprig" in said()
    assert boot_id(run) == owed
    run(f"sudo rm {manifest.PATH}")
    report = deploy(box)
    assert report.error is None, sentence(report)
    assert boot_id(run) != owed


def test_who_wants_to_be_asked_is_told_how_to_answer(
    box: boxes.Box, owed: str, run: Run, said: Callable[[], str]
) -> None:
    assert deploy(box, "ask").error is None
    assert 'Left pending: Rig.reboot is "ask"; `--data reboot=now`' in said()
    assert boot_id(run) == owed
    assert deploy(box, "ask", reboot="now").error is None
    assert boot_id(run) != owed


def test_an_idle_box_is_rebooted_and_the_deploy_goes_on(
    box: boxes.Box, kernel: str, owed: str, run: Run, deployed_before: None
) -> None:
    report = deploy(box)
    assert report.error is None, sentence(report)
    assert boot_id(run) != owed
    assert run(f"cat {WENT_ON}") == "it went on\n"
    names = [step.name.partition(" | ")[2] or step.name for step in report.steps]
    assert names == ["Reboot if that is owed", "See what it was for in use", "Go on"]
    assert [step.status for step in report.steps] == ["changed"] * 3
    assert deploy(box).changes == []


def test_a_reboot_that_does_not_help_is_told(box: boxes.Box, owed: str, run: Run) -> None:
    run(f"sudo tee {OWED}", stdin=f"every {WHY}\n")
    report = deploy(box)
    assert boot_id(run) != owed
    assert sentence(report) == f"The reboot is done, and another is owed: {WHY}."
