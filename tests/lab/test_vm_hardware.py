"""What a VM can be built of, and what becomes of it at a reboot, a power cut, a reinstall."""

from collections.abc import Iterator

import pytest

from deeprig.errors import DeeprigError
from lab import boxes, console, guest, vm
from lab.hardware import Hardware
from tests.lab.test_vm import on

pytestmark = pytest.mark.lab

NAME = "t-vm-hardware"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
HARDWARE = Hardware(nic="vmxnet3", disks=("1G",), iommu=True, pci=("gpu", "gpu:8x4"))


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    if NAME in [box.name for box in boxes.every()]:
        boxes.down(NAME)
    system = str(request.config.getoption("--os"))
    yield boxes.up(NAME, kind="vm", os=system, hardware=HARDWARE, packages=("pciutils",))
    boxes.down(NAME)


def test_there_are_iommu_groups_and_each_stand_in_gpu_has_its_own(machine: boxes.Box) -> None:
    listed = on(machine, "lspci -Dn -d 1234:1111").splitlines()  # bochs-display, standing in
    assert len(listed) == 2
    groups = {
        on(machine, f"readlink /sys/bus/pci/devices/{line.split()[0]}/iommu_group")
        for line in listed
    }
    assert len(groups) == 2


def test_the_slots_have_the_links_that_were_asked_for(machine: boxes.Box) -> None:
    ports = on(machine, "sudo lspci -vv -d 1b36:000c | grep LnkCap:").splitlines()
    assert "Speed 16GT/s, Width x16" in ports[0]
    assert "Speed 8GT/s, Width x4" in ports[1]


def test_the_card_is_the_one_asked_for_under_the_same_name(machine: boxes.Box) -> None:
    assert on(machine, "readlink /sys/class/net/enp0s4/device/driver").endswith("/vmxnet3")


def test_the_disk_asked_for_is_blank(machine: boxes.Box) -> None:
    assert on(machine, "lsblk -nbo SIZE /dev/disk/by-id/virtio-lab-disk-1").strip() == str(1 << 30)
    on(machine, "! sudo blkid -p /dev/disk/by-id/virtio-lab-disk-1")


def test_a_reboot_is_another_boot(machine: boxes.Box) -> None:
    before = on(machine, BOOT_ID)
    boxes.reboot(NAME)
    assert on(machine, BOOT_ID) != before


def test_a_power_cut_loses_what_was_not_flushed_and_nothing_else(machine: boxes.Box) -> None:
    before = on(machine, BOOT_ID)
    on(machine, "sudo sh -c 'echo kept > /srv/flushed && sync && echo lost > /srv/unflushed'")
    boxes.cut(NAME)
    assert on(machine, BOOT_ID) != before
    assert on(machine, "cat /srv/flushed") == "kept"
    assert on(machine, "cat /srv/unflushed 2>/dev/null || true") == ""


def test_reinstall_keeps_the_data_disk_and_changes_the_host_keys(machine: boxes.Box) -> None:
    keys = guest.fingerprints(machine.upper)
    disk = "/dev/disk/by-id/virtio-lab-data-disk"
    on(machine, f"sudo mount {disk} /mnt && echo mine | sudo tee /mnt/mine && sudo touch /etc/gone")
    on(machine, "sync")
    boxes.reinstall(NAME, bootstrap=True)
    assert not set(keys) & set(guest.fingerprints(machine.upper))
    assert on(machine, f"sudo mount {disk} /mnt && cat /mnt/mine") == "mine"
    on(machine, "! test -e /etc/gone")


def test_a_boot_that_cannot_come_up_is_told_with_the_consoles_last_lines(
    machine: boxes.Box,
) -> None:
    on(machine, "sudo sh -c ': > /boot/grub/grub.cfg; sync'")
    with pytest.raises(DeeprigError, match=r"GRUB has nothing to boot; .*console.log ends with:\n"):
        boxes.cut(NAME)
    assert console.dead_end(machine.console, console.last(machine.console, vm.BOOT_SIGNS))
