"""Have one data disk mounted by UUID; root runs it: check OPTIONS, or apply OPTIONS.

Disks named by serial number are formatted if they are empty, and never otherwise.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from deeprig_box.lib import files
from deeprig_box.lib.programs import run_long, said
from deeprig_box.lib.root_only import walked
from deeprig_box.lib.standing import OK, OWED, Standing
from deeprig_box.storage.make_disk import assemble, is_unfinished, make, probe

OPTIONS = "defaults,nofail,x-systemd.device-timeout=30s"


def having(filesystem: str) -> str:
    """The device with the file system of this UUID; empty where there is none, exits for two."""
    query = ("-c", "/dev/null", "-t", f"UUID={filesystem}", "-o", "device")
    devices = said("blkid", *query).splitlines()
    if len(devices) > 1 and probe(devices[0]).get("TYPE") != "btrfs":  # that may span several
        sys.exit(f"{' and '.join(devices)} have the same UUID {filesystem}, as a copied disk has.")
    return devices[0] if devices else ""


def with_serial(serial: str, told: list[str]) -> str:
    """The disk of that serial number; empty where there is none. `told` is for loop devices,
    which have no serial number: SERIAL=PATH."""
    known = [line.partition("=")[::2] for line in told]
    for line in run_long("lsblk", "-dnro", "PATH,SERIAL").splitlines():
        path, _, number = line.partition(" ")
        known.append((number, path))
    paths = [path for number, path in known if number == serial]
    if len(paths) > 1:
        sys.exit(f"{' and '.join(paths)} have the same serial number {serial}.")
    return paths[0] if paths else ""


def below(at: str, *command: str) -> str:
    """Run a command on the mountpoint as it is while nothing is mounted there."""
    parent, name = os.path.split(at)
    parent = os.path.realpath(parent)
    base = run_long("findmnt", "-no", "TARGET", "--target", parent)
    seen = os.path.relpath(Path(parent, name), base)
    with tempfile.TemporaryDirectory(prefix="deeprig-") as view:
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        inside = ("unshare", "-m", "sh", "-c", script, "sh", base, view)
        return said(*inside, *command, str(Path(view, seen)))


def writable(at: str) -> bool:
    """Whether something could land on the root disk there while the disk is not mounted."""
    attributes = below(at, "lsattr", "-d").partition(" ")[0]
    return bool(attributes) and "i" not in attributes  # none: not every file system has them


def mounted(at: str, device: str) -> bool:
    """Whether this device is mounted there; exits where another one is."""
    source = said("findmnt", "-nvo", "SOURCE", "--mountpoint", at).partition("\n")[0]
    if not source:
        return False
    if Path(source).exists() and Path(source).stat().st_rdev == Path(device).stat().st_rdev:
        return True
    sys.exit(f"{at} has {source} mounted, which is not the disk of the settings; unmount it.")


def listed(fstab: Path, at: str, filesystem: str) -> bool:
    """Whether fstab has the line; exits where it mounts something else there."""
    for line in fstab.read_text().splitlines():
        words = line.split()
        if line.lstrip().startswith("#") or len(words) < 4 or words[1] != at:
            continue
        by_uuid = words[0] in (f"UUID={filesystem}", f"/dev/disk/by-uuid/{filesystem}")
        if by_uuid and "nofail" in words[3].split(","):
            return True
        sys.exit(f"{fstab} mounts {words[0]} at {at} in its own way; take that line out.")
    return False


def list_in(fstab: Path, at: str, device: str, filesystem: str) -> None:
    """Add the line, in one step that a power cut cannot halve."""
    kind = probe(device)["TYPE"]
    order = 2 if kind.startswith("ext") else 0  # xfs and btrfs have nothing to check at boot
    old = fstab.read_text()
    gap = "" if old.endswith("\n") or not old else "\n"
    line = f"UUID={filesystem} {at} {kind} {OPTIONS} 0 {order}"
    files.write(fstab, f"{old}{gap}# The next line is deeprig's.\n{line}\n")
    if Path("/run/systemd/system").exists():
        run_long("systemctl", "daemon-reload")


def mount(fstab: Path, at: str, device: str, filesystem: str) -> None:
    place = Path(at)
    walked(place.parent, make=True)  # it exits where somebody else could exchange the mountpoint
    place.mkdir(exist_ok=True)
    is_mounted = mounted(at, device)
    if not is_mounted and any(place.iterdir()):
        sys.exit(f"{at} has files on the root disk, which the disk would hide; move them away.")
    if writable(at):
        below(at, "chattr", "+i")
        if writable(at):
            sys.exit(f"chattr +i does not work on {at}; look at it.")
    if not listed(fstab, at, filesystem):
        list_in(fstab, at, device, filesystem)
    if not is_mounted:
        run_long("mount", "--fstab", str(fstab), "--target", at)


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deeprig-box data-disk", description=__doc__)
    parser.add_argument("--at", required=True, help="where to mount it")
    parser.add_argument("--uuid", required=True, help="the file system's, also of one to be made")
    parser.add_argument("--serial", action="append", default=[], help="a disk to format if empty")
    parser.add_argument("--raid", type=int)
    parser.add_argument("--fstab", type=Path, default=Path("/etc/fstab"))
    parser.add_argument("--device", action="append", default=[], help="SERIAL=PATH, for tests")
    return parser.parse_args(words)


def check(words: list[str]) -> Standing:
    disk = options(words)
    drives = [with_serial(serial, disk.device) for serial in disk.serial]
    device = having(disk.uuid)
    unfinished = any(drive and is_unfinished(drive) for drive in drives)
    stands = device and not unfinished and mounted(disk.at, device) and not writable(disk.at)
    return Standing(OK if stands and listed(disk.fstab, disk.at, disk.uuid) else OWED)


def apply(words: list[str]) -> None:
    disk = options(words)
    drives = [with_serial(serial, disk.device) for serial in disk.serial]
    unfinished = any(drive and is_unfinished(drive) for drive in drives)
    device = having(disk.uuid)
    if not device and disk.raid and all(drives):
        assemble(drives, disk.uuid)
        device = having(disk.uuid)
    if unfinished or not device:
        if not drives or not all(drives):
            sys.exit(f"The disk for {disk.at} is not there: no file system {disk.uuid}.")
        make(drives, disk.raid, disk.uuid)
        device = having(disk.uuid)
    mount(disk.fstab, disk.at, device, disk.uuid)


def main() -> None:
    sys.exit("data-disk takes `check` or `apply`, and options.")
