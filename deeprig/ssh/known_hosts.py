"""The pinned host keys: one file beside the inventory, one line for each door of a box.

A door is a name and a port. Several boxes may have one name, behind a router: a box's doors are the
one of its inventory entry and those that took its place, which their lines say.
"""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from deeprig.errors import DeeprigError
from deeprig.local_files import alone, write


class Pinned(NamedTuple):
    """One line of the file; `seen` is the day it was last shown and found right, `YYYY-MM-DD`."""

    key: paramiko.PKey
    file: Path
    line: int
    seen: str | None


class _Door(NamedTuple):
    """What a line says of a door of one name; `instead_of` is the port that it was moved from."""

    port: int
    key: str
    instead_of: int | None


def label(hostname: str, port: int) -> str:
    """How known_hosts files name a door: `host`, or `[host]:port` where it is not 22."""
    return hostname if port == 22 else f"[{hostname}]:{port}"


def entries(path: Path, hostname: str, port: int | None = None) -> list[Pinned]:
    """What is pinned for one door, or for all doors of that name where `port` is None.

    Raises DeeprigError naming a line that cannot be read.
    """
    pins = []
    for number, text in enumerate(_lines(path), start=1):
        names = text.split(" ")[0].split(",")
        doors = [name for name in names if _is_of(name, hostname)]
        if label(hostname, port) in doors if port else doors:
            seen = re.search(r" seen (\S+)", text)
            pins.append(Pinned(_key(path, number, text), path, number, seen[1] if seen else None))
    return pins


def keys_of(path: Path, hostname: str, port: int) -> list[paramiko.PKey]:
    """The keys pinned for one door; none where the file or the door is not known."""
    return [entry.key for entry in entries(path, hostname, port)]


def find(path: Path, hostname: str, port: int) -> paramiko.PKey | None:
    """The first key pinned for one door."""
    return next(iter(keys_of(path, hostname, port)), None)


def doors(path: Path, hostname: str, port: int, wanted: int | None = None) -> tuple[int, ...]:
    """The ports at which one box was met, the one proved last first; none that was never proved.

    They are `port`, those that took its place and those whose place it took; and `wanted`, if the
    same box was met there.
    """
    known = _doors(_lines(path), hostname)
    own = _same_box(known, port)
    keys = {door.key for door in known if door.port == port}
    if wanted and (not keys or keys & {door.key for door in known if door.port == wanted}):
        own.add(wanted)
    newest = reversed([door.port for door in known if door.port in own])
    return tuple(dict.fromkeys(newest))


def pin(
    path: Path, hostname: str, port: int, key: paramiko.PKey, *, instead_of: int | None = None
) -> None:
    """Write down that this door showed this key today; other keys of the same door stay.

    `instead_of` is the port at which the same box was dialled until now. Raises DeeprigError where
    the file cannot be written.
    """
    name = label(hostname, port)
    line = f"{name} {key.get_name()} {key.get_base64()}"

    def with_it(lines: list[str]) -> list[str]:
        before = [old for old in lines if old.startswith(line)]
        moved = instead_of or next(iter(_moved(old) for old in before), None)
        instead = f" instead of {moved}" if moved and moved != port else ""
        others = [old for old in lines if not old.startswith(line)]
        return [*others, f"{line} seen {date.today()}{instead}"]

    _change(path, with_it)


def forget(path: Path, hostname: str, port: int) -> None:
    """Drop every door of the box at this one, as after a reinstall; not another box's of that name.

    Raises DeeprigError where the file cannot be written.
    """

    def without(lines: list[str]) -> list[str]:
        known = _doors(lines, hostname)
        own = _same_box(known, port)
        keys = {door.key for door in known if door.port in own}
        gone = own | {door.port for door in known if door.key in keys}
        names = {label(hostname, each) for each in gone}
        return [line for line in lines if line.split(" ")[0] not in names]

    _change(path, without)


def _doors(lines: list[str], hostname: str) -> list[_Door]:
    doors = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if _is_of(name, hostname):
            port = 22 if name == hostname else int(name.rpartition(":")[2])
            doors.append(_Door(port, " ".join(rest.split(" ")[:2]), _moved(line)))
    return doors


def _moved(line: str) -> int | None:
    match = re.search(r" instead of (\d+)", line)
    return int(match[1]) if match else None


def _same_box(known: list[_Door], port: int) -> set[int]:
    """The ports that are one box's, since one took the other's place."""
    own = {port}
    while (
        more := {
            each
            for door in known
            if door.instead_of and {door.port, door.instead_of} & own
            for each in (door.port, door.instead_of)
        }
        - own
    ):
        own |= more
    return own


def _is_of(name: str, hostname: str) -> bool:
    return name == hostname or re.fullmatch(rf"\[{re.escape(hostname)}\]:\d+", name) is not None


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
    try:
        return path.read_text().splitlines() if path.is_file() else []
    except (OSError, UnicodeError) as error:
        raise DeeprigError(
            f"{path}, where the host keys are pinned, cannot be read ({error}); make it readable."
        ) from None


def _change(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent):
            lines = "".join(f"{line}\n" for line in change(_lines(path)))
            write(path, lines.encode(), mode=0o644)
    except OSError as error:
        raise DeeprigError(
            f"{path} cannot be written ({error.strerror}), where the host keys are pinned; make "
            "its folder writable, or name another file with --known-hosts and box(known_hosts=)."
        ) from None
