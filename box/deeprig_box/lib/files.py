"""Files written in one step, a copy kept of what they replace, and locks."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

REPLACED = Path("/var/lib/deeprig/replaced")


def write(path: Path, content: str | bytes) -> None:
    """All of it or nothing of it, whatever is cut off when; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.deeprig-new")
    with draft.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_or_remove(path: Path, content: str | bytes) -> None:
    """The same; no file where nothing is to be in it."""
    if content:
        write(path, content)
    else:
        path.unlink(missing_ok=True)


def keep(path: Path) -> None:
    """A copy of what is replaced, and never over an older copy."""
    REPLACED.mkdir(parents=True, exist_ok=True)
    name = str(path).strip("/").replace("/", "_")
    copies = [REPLACED / f"{name}.bak", *(REPLACED / f"{name}.{n}.bak" for n in range(2, 100))]
    content = path.read_bytes()
    for copy in copies:
        if copy.exists() and copy.read_bytes() == content:
            return
        if not copy.exists():
            write_or_remove(copy, content)
            return


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One at a time with this lock; the others wait.

    By a file that nobody else can open: whoever may open one to read it could lock it, and hold up
    all of them.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(opened, 0o600)
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
