"""The files kept on this machine, beside known_hosts: one writer at a time, and always whole."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else changes a file in it meanwhile: what they wrote would be lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Have the file hold this, in one step that a power cut cannot halve."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    with os.fdopen(handle, "wb") as unfinished:
        unfinished.write(content)
        unfinished.flush()
        os.fsync(unfinished.fileno())
    with suppress(PermissionError):  # the disk of Windows in WSL has no modes
        Path(temporary).chmod(mode)
    Path(temporary).replace(path)
