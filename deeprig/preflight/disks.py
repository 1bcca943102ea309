"""Why the disks of a box do not fit its storage settings: one sentence each, with the way out."""

from deeprig.facts import disks
from deeprig.facts.disks import Device, Disks
from deeprig.parsers import untrusted
from deeprig.settings import Disk, Storage

GIB = 2**30
# What swap must leave free on the root file system.
SPARE_GIB = 10
# Where the kernel takes no swap file, or btrfs' way: no copy-on-write, no snapshot, one disk.
# https://github.com/geerlingguy/ansible-role-swap/pull/51
NO_SWAP_FILE = ("btrfs", "zfs")


def objections(there: Disks, settings: Storage | None) -> list[str]:
    """What would go wrong, before anything is touched; for a container of the folder alone."""
    if settings is None:
        return []
    loose = dict(there.loose)
    places = [*(disk.at for disk in settings.disks if there.root), settings.folder]
    exchangeable = [_loose(place, loose[place]) for place in places if place in loose]
    if exchangeable or not there.root:
        return list(dict.fromkeys(exchangeable))
    sentences = [sentence for disk in settings.disks for sentence in _disk(disk, there)]
    if settings.grow_root and not there.root_volume:
        sentences.append(
            f"Storage.grow_root is True, and / is on {there.root}, which is no LVM volume; "
            "leave it out."
        )
    if settings.swap_gib and there.root_type in NO_SWAP_FILE:
        sentences.append(
            f"Storage.swap_gib is {settings.swap_gib}, and / is {there.root_type}, where deeprig "
            "makes no swap file; leave it out."
        )
    more = (settings.swap_gib or 0) * GIB - there.swap_file
    if settings.swap_gib and more > 0 and there.room - more < SPARE_GIB * GIB:
        sentences.append(
            f"Storage.swap_gib is {settings.swap_gib}, and / has {there.room / GIB:.0f} GiB free, "
            f"of which {SPARE_GIB} are to stay free; take less."
        )
    return sentences


# They are for everybody; closed, much of the system would no longer work.
EVERYBODYS = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/run/user")


def _loose(place: str, above: str) -> str:
    close = f"`sudo chown root: {above} && sudo chmod go-w {above}`, or name"
    way = "name" if above.startswith(EVERYBODYS) else close
    return untrusted.visible(
        f"{place} is to be below {above}, which others than root can change, and so exchange what "
        f"root makes there; {way} another place in Storage."
    )


def _disk(disk: Disk, there: Disks) -> list[str]:
    refused = _by_uuid(disk, there) if disk.uuid else _by_serial(disk, there)
    if refused:
        return refused
    made = disks.filesystem(disk, there)
    elsewhere = [m for m in (made.mounts if made else ()) if m != disk.at]
    if made and elsewhere:
        return [
            f"The disk for {disk.at}, {made.path}, is mounted at {elsewhere[0]}; unmount it, "
            f"or write Disk(at={elsewhere[0]!r}, ...)."
        ]
    return _place(disk, there)


def _place(disk: Disk, there: Disks) -> list[str]:
    if disk.at in there.occupied:
        return [
            f"{disk.at} has files on the root disk, which a disk mounted there would hide; move "
            "them away first."
        ]
    ours = disks.uuid_of(disk, there)
    for source, target, options in there.fstab:
        by_uuid = source in (f"UUID={ours}", f"/dev/disk/by-uuid/{ours}")
        if target == disk.at and not (by_uuid and "nofail" in options.split(",")):
            return [
                f"/etc/fstab mounts {source} at {disk.at} already, "
                f"{'without nofail' if by_uuid else 'another disk'}; take that line out, or give "
                "Disk another `at`."
            ]
    return []


def _by_uuid(disk: Disk, there: Disks) -> list[str]:
    if there.with_uuid(str(disk.uuid)):
        return []
    every = (one for device in there.devices for one in device.all())
    known = [f"{one.uuid} ({one.fstype} on {one.path})" for one in every if one.fstype and one.uuid]
    return [
        f"Disk.uuid is {disk.uuid!r}, and no file system there has it; there are "
        f"{', '.join(known) or 'none'}."
    ]


def _by_serial(disk: Disk, there: Disks) -> list[str]:
    running = disk.raid is not None and disks.filesystem(disk, there) is not None
    drives: list[Device] = []
    for serial in disk.serials:
        devices = there.with_serial(serial)
        if len(devices) > 1:
            return [
                f"{len(devices)} disks have the serial number {serial!r}; name the file system "
                "with Disk(uuid=...)."
            ]
        # An array goes on without one of its disks; that is for the one who watches SMART.
        if not devices and not running:
            return [_not_there(serial, there)]
        drives += devices
    for device in drives:
        if system := [m for one in device.all() for m in one.mounts if m in disks.SYSTEM]:
            return [f"{_name(device)} holds the running system ({system[0]}); name another disk."]
    return _array(disk, drives, there) if disk.raid else _one(drives[0], there)


def _not_there(serial: str, there: Disks) -> str:
    known = ", ".join(f"{d.serial} ({d.path})" for d in there.devices if d.serial)
    return (
        f"Disk.serials names {serial!r}, and no disk there has that serial number; there are "
        f"{known or 'none'}."
    )


def _name(device: Device) -> str:
    return f"{device.path} ({device.serial})"


def _one(device: Device, there: Disks) -> list[str]:
    if disks.alone(device):
        return []
    if mounted := [mount for one in device.all() for mount in one.mounts]:
        return [f"{_name(device)} is in use at {mounted[0]}; name another disk."]
    if disks.empty(device, there) or disks.unfinished(device):
        return []
    return [
        f"{_name(device)} is not empty: it holds {disks.contents(device)}, and only an empty disk "
        f"is formatted; copy what you need, then `sudo wipefs -a {device.path}` and zero its first "
        "MiB, or name another disk."
    ]


def _array(disk: Disk, members: list[Device], there: Disks) -> list[str]:
    if disks.filesystem(disk, there):
        return []
    fresh = [d for d in members if disks.empty(d, there) or disks.unfinished(d)]
    arrays = {one.uuid for d in members for one in d.all() if one.fstype == "linux_raid_member"}
    if len(fresh) == len(members):
        return []
    others = [d for d in members if d not in fresh]
    if not fresh and arrays == {disks.array_uuid(disks.uuid_when_made(disk.serials))}:
        return []  # ours, from before a reinstall
    if not fresh and len(arrays) == 1 and all("raid" in disks.contents(d) for d in others):
        return [
            f"{', '.join(map(_name, members))} are an array that does not run, or holds no single "
            "file system; `sudo mdadm --assemble --scan`, then name it with Disk(uuid=...)."
        ]
    held = "; ".join(f"{_name(d)} holds {disks.contents(d)}" for d in others)
    rest = f", and {', '.join(map(_name, fresh))} is empty" if fresh else ""
    return [
        f"An array is made of empty disks only: {held}{rest}; empty them yourself if nothing there "
        "is wanted, or name others."
    ]
