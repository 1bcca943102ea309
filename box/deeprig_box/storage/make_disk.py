"""An empty disk, or several, made into one file system; never one with anything on it.

The work is done on a partition named deeprig-unfinished, whose last step is its final name: so a
power cut leaves either an empty disk or one that bears our mark and nobody's data.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

from deeprig_box.lib.programs import run_long, said

MIB = 2**20
UNFINISHED, FINISHED = "deeprig-unfinished", "deeprig-data"
NODE_SECONDS = 10


def probe(device: str) -> dict[str, str]:
    """What is on a device itself, read from the disk and from no cache."""
    lines = said("blkid", "-p", "-o", "export", device).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def partitions(disk: str) -> list[dict[str, str]]:
    """The partitions in the disk's table, whether the kernel knows them or not."""
    table = said("sfdisk", "--json", disk)
    parts: list[dict[str, str]] = []
    if table:
        parts = json.loads(table)["partitiontable"].get("partitions", [])
    return parts


def is_unfinished(disk: str) -> bool:
    """Whether a power cut of ours left this disk half made."""
    return [part.get("name") for part in partitions(disk)] == [UNFINISHED]


def state(disk: str) -> str:
    """empty, unfinished, or what stands in the way, in words."""
    try:  # held by a mount, an array, swap: the kernel lets nobody else have it alone
        os.close(os.open(disk, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return "is in use"
    if is_unfinished(disk):
        return "unfinished"
    if partitions(disk) or probe(disk) or run_long("wipefs", "--noheadings", "--no-act", disk):
        return "has a partition table or a file system"
    return "empty" if _blank(disk) else "has something in its first or last MiB"


def _blank(disk: str) -> bool:
    with Path(disk).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        for start in (0, max(0, end - MIB)):
            file.seek(start)
            if file.read(MIB).strip(b"\0"):
                return False
    return True


def array_uuid(filesystem: str) -> str:
    return str(uuid.uuid5(uuid.UUID(filesystem), "md"))


def array_path(filesystem: str) -> str:
    """Where an array is found; a name of its own, for a box may have several."""
    return f"/dev/md/deeprig-{filesystem[:8]}"


def assemble(disks: list[str], filesystem: str) -> None:
    """Start the array of ours that these disks were before a reinstall, if they were."""
    identity = array_uuid(filesystem)
    parts = [part["node"] for disk in disks for part in partitions(disk)]
    parts = [part for part in parts if probe(part).get("UUID") == identity]
    if parts:
        run_long(
            "mdadm", "--assemble", "--run", array_path(filesystem), f"--uuid={identity}", *parts
        )


def make(disks: list[str], level: int | None, filesystem: str) -> None:
    """An ext4 of this UUID on disks that are empty, or that an earlier run did not finish."""
    for disk in disks:  # all of them, before the first is written to
        _refuse_used(disk)
    kind = "raid" if level else "linux"
    parts = [_partition(disk, kind) for disk in disks]
    target = _array(parts, level, filesystem) if level else parts[0]
    content = probe(target)
    if (content.get("TYPE"), content.get("UUID")) == ("ext4", filesystem):
        run_long("e2fsck", "-n", target)  # mkfs was through; damage is for a person to look at
    elif "TYPE" in content:
        sys.exit(f"{target} holds {content['TYPE']} that deeprig did not make; look at it.")
    else:
        print(f"Making a file system on {' and '.join(disks)}", flush=True)
        run_long("mkfs.ext4", "-q", "-m", "1", "-L", FINISHED, "-U", filesystem, target)
        os.sync()
    for disk in disks:
        run_long(
            "sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--part-label", disk, "1", FINISHED
        )
    if Path("/run/udev").exists():
        run_long("udevadm", "settle")


def _refuse_used(disk: str) -> str:
    if (now := state(disk)) not in ("empty", "unfinished"):
        sys.exit(f"{disk} {now}; only an empty disk is formatted, and nothing was written to it.")
    return now


def _partition(disk: str, kind: str) -> str:
    """The one partition on a disk that is empty or unfinished. A file system on the whole disk
    would be shorter, and some firmware writes a table over it."""
    if _refuse_used(disk) == "empty":
        table = f'label: gpt\ntype={kind}, name="{UNFINISHED}"\n'
        run_long("sfdisk", "-q", "--wipe", "never", disk, stdin=table)
    node = partitions(disk)[0]["node"]
    started = time.monotonic()
    while not Path(node).exists():
        said("partx", "--update", disk)
        if time.monotonic() - started > NODE_SECONDS:
            sys.exit(f"{disk} is partitioned, and {node} does not appear; reboot the box.")
        time.sleep(0.1)
    return node


def _array(parts: list[str], level: int, filesystem: str) -> str:
    """The running md array of these partitions, assembled or made."""
    name, identity = array_path(filesystem), array_uuid(filesystem)
    if all(probe(part).get("UUID") == identity for part in parts):
        run_long("mdadm", "--assemble", name, f"--uuid={identity}", *parts)
    else:
        run_long(
            "mdadm", "--create", name, f"--level={level}", f"--raid-devices={len(parts)}",
            "--metadata=1.2", "--homehost=any", f"--name={Path(name).name}", f"--uuid={identity}",
            "--run", *parts,
        )  # fmt: skip
    return os.path.realpath(name)
