"""The processes of one box, as one thing that can be asked and killed at once."""

import os
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import fail

LAB = "deeprig-lab"


def group(*parts: str) -> Path:
    """The control group of the lab, of one box in it, or of a part of that box."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    if not roots:
        fail("no cgroup2 is mounted here; the lab needs one: use a newer Linux.")
    return Path(roots[-1], LAB, *parts)


def enter(*parts: str) -> None:
    """Move this process into a group, made if it is not there."""
    place = group(*parts)
    place.mkdir(parents=True, exist_ok=True)
    (place / "cgroup.procs").write_text(str(os.getpid()))


def pass_on(*parts: str) -> None:
    """Let the groups below use the controllers that are there, as a box's MemoryMax= needs."""
    place = group(*parts)
    offered = (place / "cgroup.controllers").read_text().split()
    for controller in {"cpu", "io", "memory", "pids"}.intersection(offered):
        (place / "cgroup.subtree_control").write_text(f"+{controller}")


def alive(*parts: str) -> bool:
    """Whether any process is in the group or below it."""
    try:
        return "populated 1" in (group(*parts) / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def pids(*parts: str) -> list[int]:
    """Every process in the group and below it, by its id on this machine."""
    numbers: list[int] = []
    for folder, _, _ in os.walk(group(*parts)):
        with suppress(OSError):  # a group may go away while we look
            numbers += map(int, Path(folder, "cgroup.procs").read_text().split())
    return numbers


def kill(*parts: str) -> None:
    """SIGKILL to every process of the group in the same moment, and the group removed."""
    place = group(*parts)
    if not place.is_dir():
        return
    (place / "cgroup.kill").write_text("1")
    patience = time.monotonic() + 20
    while alive(*parts):
        if time.monotonic() > patience:
            fail(f"{place} still has processes {pids(*parts)} after SIGKILL.")
        time.sleep(0.01)
    remove(*parts)


def remove(*parts: str) -> None:
    """Remove an empty group and all below it."""
    for folder, _, _ in os.walk(group(*parts), topdown=False):
        Path(folder).rmdir()
