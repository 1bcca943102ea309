"""Which disk a setting means, and each reason to leave disks alone, from what lsblk prints."""

import json
from typing import Any

import pytest

from deeprig.facts import disks
from deeprig.facts.disks import Disks, read, uuid_when_made
from deeprig.preflight.disks import objections
from deeprig.settings import Disk, Storage

# Written by hand in the form of `lsblk -J -b` of util-linux 2.38; the machines do not exist.
UUID = "8f3c0c5e-4f0f-4e0e-9a44-0c9a2b6f7d10"
OTHER = "0b54d7a1-93c2-4c0e-8d0b-4f7a1c2d3e4f"


def entry(path: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(["tran", "serial", "fstype", "uuid", "pttype", "partlabel"])
    known = {"path": path, "type": "disk", "size": 4_000_787_030_016, "mountpoints": [None]}
    return nothing | known | more | ({"children": list(children)} if children else {})


def part(path: str, **more: Any) -> dict[str, Any]:
    return entry(path, type="part", **more)


SYSTEM = entry(
    "/dev/nvme0n1",
    part("/dev/nvme0n1p1", fstype="vfat", uuid="1A2B-3C4D", mountpoints=["/boot/efi"]),
    part("/dev/nvme0n1p2", fstype="ext4", uuid=OTHER, mountpoints=["/"]),
    tran="nvme",
    serial="S4EVNF0M123456",
    pttype="gpt",
)
EMPTY = entry("/dev/sdb", tran="sata", serial="WD-WCC7K1234567")
EMPTY_2 = entry("/dev/sdc", tran="sata", serial="WD-WCC7K7654321")


def holding(device: dict[str, Any], **what: Any) -> dict[str, Any]:
    """The same disk with one partition."""
    return device | {"pttype": "gpt", "children": [part(f"{device['path']}1", **what)]}


def box(*devices: dict[str, Any], **more: list[str]) -> Disks:
    tree = json.dumps({"blockdevices": [SYSTEM, *devices]})
    return read({"disks": [tree], "root": ["/dev/nvme0n1p2"], "room": [str(500 * 2**30)], **more})


def said(there: Disks, **disk: Any) -> list[str]:
    return objections(there, Storage(disks=[Disk(**disk)]))


B, C = "WD-WCC7K1234567", "WD-WCC7K7654321"


def test_an_empty_disk_named_by_serial_is_made_with_a_uuid_known_before() -> None:
    there = box(EMPTY)
    assert said(there, serials=[B]) == []
    wanted = Disk(serials=[B])
    assert disks.filesystem(wanted, there) is None
    assert disks.uuid_of(wanted, there) == uuid_when_made((B,)) == uuid_when_made((B,))
    assert uuid_when_made((B, C)) == uuid_when_made((C, B)) != uuid_when_made((B,))


@pytest.mark.parametrize(
    "disk",
    [
        holding(EMPTY, fstype="ext4", uuid=UUID, partlabel="deeprig-data"),
        holding(EMPTY, fstype="xfs", uuid=UUID, mountpoints=["/data"]),
        EMPTY | {"fstype": "btrfs", "uuid": UUID},
    ],
)
def test_the_one_file_system_on_a_disk_is_mounted_and_not_made(disk: dict[str, Any]) -> None:
    there = box(disk)
    assert said(there, serials=[B]) == []
    assert disks.uuid_of(Disk(serials=[B]), there) == UUID


def test_a_disk_that_a_power_cut_left_unfinished_is_finished() -> None:
    there = box(holding(EMPTY, partlabel="deeprig-unfinished"))
    assert said(there, serials=[B]) == []
    assert disks.uuid_of(Disk(serials=[B]), there) == uuid_when_made((B,))


@pytest.mark.parametrize(
    ("disk", "holds"),
    [
        (holding(EMPTY, fstype="ntfs", uuid="01D"), "a gpt partition table with ntfs"),
        (holding(EMPTY, fstype="LVM2_member", uuid="x"), "a gpt partition table with LVM2_member"),
        (EMPTY | {"fstype": "crypto_LUKS", "uuid": "x"}, "crypto_LUKS"),
        (EMPTY | {"fstype": "zfs_member"}, "zfs_member"),
        (EMPTY | {"pttype": "dos"}, "a dos partition table with 0 partitions"),
        (
            holding(EMPTY, fstype="ext4", uuid=UUID)
            | {"children": [part("/dev/sdb1", fstype="ext4"), part("/dev/sdb2", fstype="ext4")]},
            "a gpt partition table with ext4, ext4",
        ),
        (holding(EMPTY), "a gpt partition table with 1 partitions"),
    ],
)
def test_a_disk_with_anything_else_on_it_is_refused(disk: dict[str, Any], holds: str) -> None:
    [sentence] = said(box(disk), serials=[B])
    assert sentence.startswith(f"/dev/sdb ({B}) is not empty: it holds {holds}, and only an empty")
    assert "sudo wipefs -a /dev/sdb" in sentence


def test_one_byte_early_on_a_disk_is_enough_to_refuse_it() -> None:
    there = box(EMPTY, written=["/dev/sdb"])
    [sentence] = said(there, serials=[B])
    assert "it holds something without a signature" in sentence
    assert said(box(EMPTY, written=["/dev/sdc"]), serials=[B]) == []  # another disk's byte


def test_a_serial_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert said(box(EMPTY), serials=["WD-TYPO"]) == [
        "Disk.serials names 'WD-TYPO', and no disk there has that serial number; there are "
        f"S4EVNF0M123456 (/dev/nvme0n1), {B} (/dev/sdb)."
    ]


def test_two_disks_with_one_serial_are_told_apart_by_uuid() -> None:
    [sentence] = said(box(EMPTY, EMPTY_2 | {"serial": B}), serials=[B])
    assert sentence.startswith(f"2 disks have the serial number '{B}'")


def test_the_systems_own_disk_is_refused() -> None:
    [sentence] = said(box(), serials=["S4EVNF0M123456"])
    assert sentence == (
        "/dev/nvme0n1 (S4EVNF0M123456) holds the running system (/boot/efi); name another disk."
    )


def test_a_disk_in_use_elsewhere_is_refused() -> None:
    used = holding(EMPTY, fstype="ext4", uuid=UUID, mountpoints=["/srv"])
    for way in ({"serials": [B]}, {"uuid": UUID}):
        assert said(box(used), **way) == [
            "The disk for /data, /dev/sdb1, is mounted at /srv; unmount it, or write "
            "Disk(at='/srv', ...)."
        ]


def test_a_disk_below_somebodys_volumes_is_refused() -> None:
    volume = entry("/dev/mapper/vg-lv", type="lvm", fstype="ext4", uuid=UUID, mountpoints=["/srv"])
    member = part("/dev/sdb1", fstype="LVM2_member", uuid="x") | {"children": [volume]}
    there = box(EMPTY | {"pttype": "gpt", "children": [member]})
    assert said(there, serials=[B]) == [f"/dev/sdb ({B}) is in use at /srv; name another disk."]
    assert said(there, uuid=UUID, at="/srv") == []  # by its own UUID it is fine


def test_a_uuid_that_is_not_there_is_refused_with_those_that_are() -> None:
    used = holding(EMPTY, fstype="ext4", uuid=UUID)
    [sentence] = said(box(used), uuid="ffff-0000")
    assert f"{UUID} (ext4 on /dev/sdb1)" in sentence
    assert said(box(used), uuid=UUID) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/dev/sdb1 /data defaults", "mounts /dev/sdb1 at /data already, another disk"),
        (f"UUID={UUID} /data defaults", f"mounts UUID={UUID} at /data already, without nofail"),
    ],
)
def test_another_line_in_fstab_for_the_place_is_refused(line: str, why: str) -> None:
    there = box(holding(EMPTY, fstype="ext4", uuid=UUID), fstab=[line])
    [sentence] = said(there, uuid=UUID)
    assert why in sentence


def test_our_own_line_in_fstab_is_fine() -> None:
    disk = holding(EMPTY, fstype="ext4", uuid=UUID, mountpoints=["/data"])
    lines = [f"UUID={OTHER} / errors=remount-ro", f"UUID={UUID} /data defaults,nofail"]
    assert said(box(disk, fstab=lines), uuid=UUID) == []


def test_files_where_a_disk_is_to_be_mounted_are_not_hidden() -> None:
    [sentence] = said(box(EMPTY, occupied=["/data"]), serials=[B])
    assert sentence.startswith("/data has files on the root disk")


def array(member: str, *, running: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two disks that are an array of this UUID, with a file system if it runs."""
    md = entry("/dev/md127", type="raid1", fstype="ext4", uuid=UUID, mountpoints=["/data"])
    first, second = (
        holding(disk, fstype="linux_raid_member", uuid=member) for disk in (EMPTY, EMPTY_2)
    )
    if running:
        for disk in (first, second):
            disk["children"][0]["children"] = [md]
    return first, second


def test_an_array_is_made_of_empty_disks() -> None:
    assert said(box(EMPTY, EMPTY_2), serials=[B, C], raid=1) == []


def test_an_array_that_runs_is_mounted_also_with_a_disk_gone() -> None:
    first, second = array(OTHER, running=True)
    wanted = {"serials": [B, C], "raid": 1}
    assert said(box(first, second), **wanted) == []
    assert disks.uuid_of(Disk(serials=[B, C], raid=1), box(first, second)) == UUID
    assert said(box(first), **wanted) == []
    assert "no disk there has that serial" in said(box(EMPTY), **wanted)[0]  # the control


def test_our_array_from_before_a_reinstall_is_assembled_and_anothers_is_not() -> None:
    ours = disks.array_uuid(uuid_when_made((B, C)))
    assert said(box(*array(ours, running=False)), serials=[B, C], raid=1) == []
    [sentence] = said(box(*array(OTHER, running=False)), serials=[B, C], raid=1)
    assert "sudo mdadm --assemble --scan" in sentence


def test_an_array_is_never_made_with_a_disk_that_holds_something() -> None:
    used = holding(EMPTY_2, fstype="ext4", uuid=UUID)
    [sentence] = said(box(EMPTY, used), serials=[B, C], raid=1)
    assert sentence.startswith(
        f"An array is made of empty disks only: /dev/sdc ({C}) holds a gpt partition table with "
        f"ext4, and /dev/sdb ({B}) is empty"
    )


def test_growing_the_root_needs_a_volume() -> None:
    grow = Storage(grow_root=True)
    [sentence] = objections(box(), grow)
    assert "/ is on /dev/nvme0n1p2, which is no LVM volume" in sentence
    assert objections(box(root_volume=["/dev/ubuntu-vg/ubuntu-lv"]), grow) == []


def test_swap_leaves_room_on_the_root_disk() -> None:
    assert objections(box(), Storage(swap_gib=64)) == []
    [sentence] = objections(box(), Storage(swap_gib=495))
    assert "/ has 500 GiB free, of which 10 are to stay free" in sentence
    standing = box(swap_file=[str(495 * 2**30)], room=[str(5 * 2**30)])
    assert objections(standing, Storage(swap_gib=495)) == []


@pytest.mark.parametrize("kind", ["btrfs", "zfs"])
def test_a_root_that_takes_no_swap_file_is_said_before_anything(kind: str) -> None:
    # https://github.com/geerlingguy/ansible-role-swap/issues/28, .../pull/51 (2025-09)
    there = box(root_type=[kind])
    [sentence] = objections(there, Storage(swap_gib=8))
    assert f"/ is {kind}, where deeprig makes no swap file; leave it out" in sentence
    assert objections(there, Storage()) == []


def test_health_is_asked_of_a_real_machines_disks_only() -> None:
    assert box().can_say_how_they_are
    assert not box(virtual=["yes"]).can_say_how_they_are
    assert not read({}).can_say_how_they_are


def test_a_container_is_asked_nothing_about_disks() -> None:
    everything = Storage(disks=[Disk(serials=["X"])], swap_gib=8, grow_root=True)
    assert objections(read({}), everything) == []
    assert objections(box(), everything) != []  # the control
