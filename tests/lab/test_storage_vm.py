"""Disks, arrays, swap and trim on a machine with disks of its own, over a disk that is lost.

The disks are QEMU's, as empty and as mute as new ones; mdadm, systemd and the kernel are the
system's own.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig import inventories
from deeprig.runner.runs import Report
from deeprig.settings import Disk, Rig
from deeprig_cli.verify import runner
from lab import box_disk, boxes, monitor, vm
from lab.hardware import Hardware
from tasks import base, data_folder, storage
from tests.lab.conftest import run_on, variant
from tests.lab.guarded import Run, shell

pytestmark = pytest.mark.lab

NAME = "t-storage-vm"
OLD = Disk(at="/old", serials=("lab-disk-1",))
ARRAY = Disk(at="/array", serials=("lab-disk-2", "lab-disk-6"), raid=1)
FIVE = Disk(at="/five", serials=("lab-disk-3", "lab-disk-4", "lab-disk-5"), raid=5)
DISKS = ("1G",) * 6
ABOUT_DISKS = {
    "each data disk is mounted by uuid and may be missing at boot",
    "no array lacks a disk",
    "nothing can be written where a disk is not mounted",
    "ssds are told what is free",
}
PACKAGES = ("dhcpcd-base", "e2fsprogs", "fdisk", "mdadm", "smartmontools")
BIG = 24 << 30
# As a person had it before, on the whole disk.
MAKE_OLD = """
mkfs.ext4 -q -U 11111111-2222-4333-8444-555555555555 /dev/disk/by-id/virtio-lab-disk-1
mount /dev/disk/by-id/virtio-lab-disk-1 /mnt && echo mine > /mnt/file && umount /mnt
"""
GROW = "echo ', +' | sfdisk -q --no-reread -N 2 /dev/vda; partx -u /dev/vda; resize2fs /dev/vda2"


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    if NAME in [old.name for old in boxes.every()]:
        boxes.down(NAME)
    system = str(request.config.getoption("--os"))
    made = boxes.up(NAME, kind="vm", os=system, hardware=Hardware(disks=DISKS), packages=PACKAGES)
    shell(made)("sudo sh -e", stdin=MAKE_OLD)
    yield made
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def deploy(box: boxes.Box, swap_gib: int | None = None) -> Report:
    """The part of a deploy that has to do with disks."""

    def build(rig: Rig) -> None:
        assert rig.storage and rig.notebook
        disks = (*rig.storage.disks, OLD, ARRAY, FIVE)
        wanted = replace(rig.storage, disks=disks, swap_gib=swap_gib)
        found = base.survey(replace(rig, storage=wanted))
        if found:
            base.have_program()
            storage.provide(settings=wanted, survey=found)
            data_folder.provide(settings=wanted, survey=found, user=rig.notebook.user)

    return run_on(box, build)


def failure(report: Report) -> str:
    return "".join(step.output for step in report.steps if step.status == "failed")


@pytest.fixture(scope="module")
def deployed(box: boxes.Box, run: Run) -> None:
    report = deploy(box)
    assert report.error is None, failure(report)
    run("sudo sh -c 'echo mine > /data/file; echo mine > /array/file; echo mine > /five/file'")


def test_a_second_run_changes_nothing(box: boxes.Box, deployed: None) -> None:
    report = deploy(box)
    assert (report.error, report.changes) == (None, [])


def test_a_disk_with_a_file_system_is_mounted_as_it_is(run: Run, deployed: None) -> None:
    assert run("cat /old/file").strip() == "mine"
    assert run("findmnt -no UUID /old").strip() == "11111111-2222-4333-8444-555555555555"


def test_two_blank_disks_are_a_mirror_with_one_file_system(run: Run, deployed: None) -> None:
    device = run("findmnt -no SOURCE /array").strip()
    assert device.startswith("/dev/md")
    details = run(f"sudo mdadm --detail {device}")
    assert "Raid Level : raid1" in details and "Raid Devices : 2" in details
    assert "State : clean" in details and "Failed Devices : 0" in details
    assert run("systemctl --failed --plain --no-legend") == ""
    assert 900 < int(run("df -m --output=size /array | tail -n 1")) < 1024


def test_three_blank_disks_are_an_array_that_may_lose_one(run: Run, deployed: None) -> None:
    details = run(f"sudo mdadm --detail {run('findmnt -no SOURCE /five').strip()}")
    assert "Raid Level : raid5" in details and "Raid Devices : 3" in details
    assert 1900 < int(run("df -m --output=size /five | tail -n 1")) < 2048


def test_verify_finds_the_disks_as_they_should_be(box: boxes.Box, deployed: None) -> None:
    assert complaints(box) == []


def complaints(box: boxes.Box) -> list[str]:
    """What verify has against the disks; this box has no other part of a deploy."""
    asked = "".join(
        f"Disk(at={disk.at!r}, serials={disk.serials!r}, raid={disk.raid}), "
        for disk in (OLD, ARRAY, FIVE)
    )
    file = variant(box, box.folder / "with-arrays.py", ("disks=[", f"disks=[{asked}"))
    found = runner.run(inventories.load(file), "live", lambda _: None, ["storage"])
    about = {c.check: c for c in found if c.check in ABOUT_DISKS}
    assert {*about} == ABOUT_DISKS
    return [name for name, check in about.items() if check.outcome != "passed"]


def test_what_is_deleted_is_given_back_to_the_disk(
    box: boxes.Box, run: Run, deployed: None
) -> None:
    """By the unit that the timer starts every week; the disk's file on this machine shrinks."""
    assert run("systemctl is-active fstrim.timer").strip() == "active"
    disk = box.folder / box_disk.DATA
    run("sudo sh -c 'head -c 200M /dev/urandom > /data/big; sync'")
    full = on_disk(disk)
    run("sudo sh -c 'rm /data/big; sync; systemctl start fstrim.service'")
    assert full - on_disk(disk) > 150 << 20


def on_disk(file: Path) -> int:
    """The bytes that are really kept for it."""
    return file.stat().st_blocks * 512


def test_there_is_swap_where_there_is_room_for_it(
    box: boxes.Box, run: Run, deployed: None, said: Callable[[], str]
) -> None:
    assert deploy(box, swap_gib=1).error is not None
    assert "of which 10 are to stay free; take less." in said()
    with monitor.connected(box.folder / vm.MONITOR) as qmp:
        qmp.tell("block_resize", device="disk0", size=BIG)
    run("sudo sh", stdin=GROW)
    report = deploy(box, swap_gib=1)
    assert report.error is None, failure(report)
    has_swap(run)
    report = deploy(box, swap_gib=1)
    assert (report.error, report.changes) == (None, [])


def has_swap(run: Run) -> None:
    shown = run("sudo swapon --show=NAME,SIZE --bytes --noheadings").split()
    assert shown[0] == "/swap.deeprig"
    assert (1 << 30) - int(shown[1]) < 1 << 16
    assert run("cat /proc/sys/vm/swappiness").strip() == "10"


@pytest.fixture(scope="module")
def half_gone(box: boxes.Box, run: Run, deployed: None) -> None:
    """A boot with a blank disk in the place of the data disk, and without one of each array's."""
    run("sync")
    boxes.cut(NAME, off=True)
    disk = box.folder / box_disk.DATA
    disk.rename(disk.with_suffix(".away"))
    box_disk.blank(disk, box_disk.DATA_SIZE)
    _with_disks(DISKS[:-2])


def _with_disks(sizes: tuple[str, ...]) -> None:
    replace(boxes.get(NAME), hardware=Hardware(disks=sizes)).save()
    boxes.up(NAME)


def test_the_box_boots_without_its_data_disk_and_nothing_lands_on_the_systems(
    run: Run, half_gone: None
) -> None:
    assert run("findmnt /data", check=False) == ""
    assert run("ls -A /data") == ""
    said = run("sudo touch /data/file 2>&1", check=False)
    assert "Operation not permitted" in said
    assert run("ls -A /data") == ""
    has_swap(run)


def test_arrays_are_there_without_one_of_their_disks(
    box: boxes.Box, run: Run, half_gone: None
) -> None:
    run("for i in $(seq 180); do findmnt /array && findmnt /five && break; sleep 1; done")
    assert run("cat /array/file /five/file").split() == ["mine"] * 2
    assert run("cat /sys/block/md*/md/degraded").split() == ["1", "1"]
    assert "no array lacks a disk" in complaints(box)


def test_a_run_says_which_disk_is_not_there_and_touches_nothing(
    box: boxes.Box, run: Run, half_gone: None, said: Callable[[], str]
) -> None:
    report = deploy(box, swap_gib=1)
    assert report.error is not None
    assert report.steps == []
    assert "Disk.uuid is " in said() and "no file system there has it" in said()
    assert run("sudo blkid -p /dev/disk/by-id/virtio-lab-data-disk", check=False) == ""


def test_all_is_as_before_when_the_disks_are_back(
    box: boxes.Box, run: Run, half_gone: None
) -> None:
    run("sync")
    boxes.cut(NAME, off=True)
    disk = box.folder / box_disk.DATA
    disk.with_suffix(".away").rename(disk)
    _with_disks(DISKS)
    run("for i in $(seq 180); do findmnt /array && findmnt /five && break; sleep 1; done")
    assert run("cat /data/file /old/file /array/file /five/file").split() == ["mine"] * 4
    has_swap(run)
    report = deploy(box, swap_gib=1)
    assert (report.error, report.changes) == (None, [])
