"""What is on a box's disks, which of it a `Disk` setting means, and what stands in the way."""

import json
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.settings import Disk, Storage

SCRIPT = (Path(__file__).parent / "disks.sh").read_text()

# What keeps owners and modes; anything else is somebody's, and none of ours.
MOUNTABLE = ("ext4", "ext3", "ext2", "xfs", "btrfs")
SYSTEM = ("/", "/boot", "/boot/efi", "/usr", "/var", "/home", "[SWAP]")
# The partition's name while box/deeprig_box/storage/disk.py is at work on it.
UNFINISHED = "deeprig-unfinished"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "deeprig:data-disk")
DEEPEST = 20  # lsblk's tree: a disk, its partition, an array, LUKS, a volume

_node = untrusted.parser("device", r"/dev/[\w./:+@-]+", 300)
_kind = untrusted.parser("word of lsblk's", r"[\w.+-]*", 40)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A block device with what is on it, as lsblk says it; `size` in bytes."""

    path: str
    type: str = ""
    transport: str = ""
    size: int = 0
    serial: str = ""
    fstype: str = ""
    uuid: str = ""
    table: str = ""
    label: str = ""
    mounts: tuple[str, ...] = ()
    children: tuple["Device", ...] = ()

    def all(self) -> Iterator["Device"]:
        """This device and everything on it."""
        yield self
        for child in self.children:
            yield from child.all()


@dataclass(frozen=True, kw_only=True)
class Disks:
    """The box's disks, and what else decides about them; all empty in a container.

    `apart` says that the data folder is on another file system than the homes. `loose` has places
    of the settings, and for each the folder above it that others than root can change.
    """

    devices: tuple[Device, ...] = ()
    written: tuple[str, ...] = ()
    fstab: tuple[tuple[str, str, str], ...] = ()
    occupied: tuple[str, ...] = ()
    root: str = ""
    root_type: str = ""
    root_volume: str = ""
    room: int = 0
    swap_file: int = 0
    virtual: bool = False
    apart: bool = False
    loose: tuple[tuple[str, str], ...] = ()

    def with_serial(self, serial: str) -> list[Device]:
        return [d for d in self.devices if d.serial == serial]

    def with_uuid(self, wanted: str) -> Device | None:
        """The file system of that UUID."""
        every = (one for device in self.devices for one in device.all())
        return next((d for d in every if d.uuid == wanted and d.fstype in MOUNTABLE), None)

    @property
    def can_say_how_they_are(self) -> bool:
        """Whether SMART has something to ask: a real machine's own disks."""
        real = any(d.transport in ("nvme", "sata", "ata", "sas") for d in self.devices)
        return real and not self.virtual


def variables(settings: Storage | None) -> str:
    """What SCRIPT is told of the settings, as shell assignments."""
    storage = settings or Storage()
    serials = " ".join(serial for disk in storage.disks for serial in disk.serials)
    places = " ".join(disk.at for disk in storage.disks)
    return (
        f"FOLDER={shlex.quote(storage.folder)} SERIALS={shlex.quote(serials)} "
        f"PLACES={shlex.quote(places)}"
    )


def read(found: dict[str, list[str]]) -> Disks:
    """The disks in what SCRIPT printed, key to values. Raises NotSo."""

    def one(key: str) -> str:
        return found.get(key, [""])[0].strip()

    def node(key: str) -> str:
        return _node(one(key)) if one(key) else ""

    tree = json.loads(one("disks") or "{}").get("blockdevices", [])
    return Disks(
        devices=tuple(_device(entry) for entry in tree),
        written=tuple(map(_node, found.get("written", []))),
        fstab=tuple(map(_mount, found.get("fstab", []))),
        occupied=tuple(map(untrusted.path, found.get("occupied", []))),
        root=untrusted.words(one("root")),  # overlay, or zfs' own way to name a pool
        root_type=_kind(one("root_type")),
        root_volume=node("root_volume"),
        room=untrusted.number(one("room") or "0"),
        swap_file=untrusted.number(one("swap_file") or "0"),
        virtual=bool(one("virtual")),
        apart=bool(one("apart")),
        loose=tuple(map(_loose, found.get("loose", []))),
    )


def _loose(line: str) -> tuple[str, str]:
    place, _, above = line.partition("|")
    return untrusted.path(place), untrusted.path(above)


def _mount(line: str) -> tuple[str, str, str]:
    cells = line.split(" ")
    if len(cells) != 3:
        raise NotSo(f"{line[:80]!r} is no line of /etc/fstab")
    source, target, options = map(untrusted.words, cells)
    return source, target, options


def _device(entry: dict[str, Any], depth: int = 0) -> Device:
    """What somebody may write on a disk (labels, numbers) is odd on honest boxes too: shown only,
    or left out where no setting could name it.
    """
    if depth > DEEPEST:
        raise NotSo(f"lsblk's tree is deeper than {DEEPEST}")
    return Device(
        path=_node(entry["path"]),
        type=_kind(entry["type"]),
        transport=_kind(entry["tran"] or ""),
        size=untrusted.number(str(entry["size"] or 0)),
        serial=untrusted.fits(untrusted.serial, (entry["serial"] or "").strip()),
        fstype=_kind(entry["fstype"] or ""),
        uuid=untrusted.fits(untrusted.uuid, entry["uuid"] or ""),
        table=_kind(entry["pttype"] or ""),
        label=untrusted.words(entry["partlabel"] or ""),
        mounts=tuple(untrusted.words(mount, 4096) for mount in entry["mountpoints"] if mount),
        children=tuple(_device(child, depth + 1) for child in entry.get("children", [])),
    )


def uuid_when_made(serials: tuple[str, ...]) -> str:
    """The UUID of the file system that we make on these disks: known before, the same again."""
    return str(uuid.uuid5(NAMESPACE, " ".join(sorted(serials))))


def array_uuid(filesystem: str) -> str:
    """The UUID of the md array below a file system that we made."""
    return str(uuid.uuid5(uuid.UUID(filesystem), "md"))


def filesystem(disk: Disk, there: Disks) -> Device | None:
    """What the setting means, if it is there already; None where it is still to be made."""
    if disk.uuid:
        return there.with_uuid(disk.uuid)
    if disk.raid is None:
        return next((alone(d) for s in disk.serials for d in there.with_serial(s)), None)
    for serial in disk.serials:
        for device in there.with_serial(serial):
            for part in device.all():
                if part.type.startswith("raid") and part.fstype in MOUNTABLE:
                    return part
    return None


def uuid_of(disk: Disk, there: Disks) -> str:
    """The UUID to mount by."""
    made = filesystem(disk, there)
    return disk.uuid or (made.uuid if made else uuid_when_made(disk.serials))


def alone(device: Device) -> Device | None:
    """The one file system on a disk, whole disk or one partition; None where there is more."""
    if not device.children:
        return device if device.fstype in MOUNTABLE else None
    [first, *more] = device.children
    lonely = not more and not first.children and not unfinished(device)
    return first if lonely and first.fstype in MOUNTABLE else None


def unfinished(device: Device) -> bool:
    """Whether this is a disk of ours that a power cut left half made."""
    return [child.label for child in device.children] == [UNFINISHED]


def empty(device: Device, there: Disks) -> bool:
    """Whether nothing at all is on a disk, as far as reading tells."""
    bare = not (device.children or device.fstype or device.table or device.mounts)
    return bare and device.path not in there.written


def contents(device: Device) -> str:
    """What is on a disk, in words, such as `a gpt partition table with ntfs, vfat`."""
    kinds = [one.fstype for one in device.all() if one.fstype]
    if device.table:
        within = ", ".join(kinds) or f"{len(device.children)} partitions"
        return f"a {device.table} partition table with {within}"
    return ", ".join(kinds) or "something without a signature"
