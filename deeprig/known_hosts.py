"""The pinned host keys: one file beside the inventory, one line for each door of a box."""

import os
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from deeprig.errors import DeeprigError


class Pinned(NamedTuple):
    """One line of the file; `seen` is the day it was last shown and found right, `YYYY-MM-DD`."""

    key: paramiko.PKey
    file: Path
    line: int
    seen: str | None


def label(hostname: str, port: int) -> str:
    """How known_hosts files name a door: `host`, or `[host]:port` where it is not 22."""
    return hostname if port == 22 else f"[{hostname}]:{port}"


def entries(path: Path, hostname: str, port: int | None = None) -> list[Pinned]:
    """What is pinned for one door, or for all doors of a box where `port` is None.

    Raises DeeprigError naming a line that cannot be read.
    """
    found = []
    for number, text in enumerate(_lines(path), start=1):
        names = text.split(" ")[0].split(",")
        doors = [name for name in names if _is_of(name, hostname)]
        if label(hostname, port) in doors if port else doors:
            seen = text.rsplit(" seen ", 1)[1] if " seen " in text else None
            found.append(Pinned(_key(path, number, text), path, number, seen))
    return found


def keys_of(path: Path, hostname: str, port: int) -> list[paramiko.PKey]:
    """The keys pinned for one door; none where the file or the door is not known."""
    return [entry.key for entry in entries(path, hostname, port)]


def find(path: Path, hostname: str, port: int) -> paramiko.PKey | None:
    """The first key pinned for one door."""
    return next(iter(keys_of(path, hostname, port)), None)


def last_seen(path: Path, hostname: str, port: int) -> str | None:
    """The day this door's key was last shown and found right, `YYYY-MM-DD`."""
    return next((entry.seen for entry in entries(path, hostname, port)), None)


def pin(path: Path, hostname: str, port: int, key: paramiko.PKey) -> None:
    """Write down that this door showed this key today; other keys of the same door stay."""
    name = label(hostname, port)
    line = f"{name} {key.get_name()} {key.get_base64()}"
    others = [old for old in _lines(path) if not old.startswith(line)]
    _write(path, [*others, f"{line} seen {date.today()}"])


def forget(path: Path, hostname: str) -> None:
    """Drop every door of a box, as after a reinstall."""
    _write(path, [line for line in _lines(path) if not _is_of(line.split(" ")[0], hostname)])


def _is_of(name: str, hostname: str) -> bool:
    return name == hostname or name.startswith(f"[{hostname}]:")


def _key(path: Path, number: int, text: str) -> paramiko.PKey:
    try:
        entry = HostKeyEntry.from_line(text)
    except (InvalidHostKey, paramiko.SSHException, ValueError, UnicodeError):
        entry = None
    if entry is None or entry.key is None:
        raise DeeprigError(
            f"{path} line {number} holds no host key that can be read; delete that line, then run "
            "`deeprig bootstrap` for its box."
        )
    return entry.key


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
