"""Folders that nobody but root can change, walked to from / by descriptors.

Root uses it.
"""

import os
import pwd
import stat
import sys
from contextlib import suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
WRITABLE = 0o022  # by group or others; a mask of an ACL shows there as well


def somebody(uid: int) -> str:
    """Whose number this is; empty if nobody's."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def walked(folder: Path, *, make: bool = False) -> int | None:
    """This folder's descriptor; None where it is not there. `make` makes what is missing.

    Exits with one line where others than root may change it or a folder above it.
    """
    at, seen = os.open("/", FOLDER), Path("/")
    try:
        _refuse_loose(at, seen)
        for name in Path(os.path.realpath(folder)).parts[1:]:
            seen /= name
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=at)
            outer = at
            at = os.open(name, FOLDER, dir_fd=outer)
            os.close(outer)
            _refuse_loose(at, seen)
    except FileNotFoundError:
        os.close(at)
        return None
    return at


def _refuse_loose(folder: int, name: Path) -> None:
    status = os.fstat(folder)
    if status.st_uid or status.st_mode & WRITABLE:
        whose = somebody(status.st_uid) or status.st_uid
        says = f"belongs to {whose}" if status.st_uid else "lets others than root write"
        close = f"`sudo chown root: {name} && sudo chmod go-w {name}`, or name"
        way = "name" if status.st_mode & stat.S_ISVTX else close  # as /tmp: it is for everybody
        sys.exit(
            f"{name} {says}, who could exchange what root makes in it; {way} a place elsewhere in "
            "Storage."
        )
