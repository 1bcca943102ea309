"""Files written in one step, and a copy kept of what they replace."""

import os
from pathlib import Path

REPLACED = Path("/var/lib/deeprig/replaced")


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
            write(copy, content)
            return


def write(path: Path, content: bytes) -> None:
    """The file in one step, or none where nothing is to be in it."""
    if not content:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.deeprig-new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
