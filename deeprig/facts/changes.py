"""What happened on a box since the last run, and who did it: why it is not as it was left."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from deeprig.parsers import untrusted

SCRIPT = (Path(__file__).parent / "changes.sh").read_text()
# Of each kind, the newest; the box's own logs have the rest.
SHOWN = 5
DAYS = 2**34  # seconds that a calendar has a day for
# From the command that opened an editor to the file that it wrote.
SECONDS_APART = 1800


class SudoCommand(NamedTuple):
    """What root was told to do: by whom, when (seconds since the epoch), and the command."""

    when: int
    who: str
    command: str


class AptTransaction(NamedTuple):
    """What apt did: when (the box's own time), for whom, by which command, to which packages."""

    when: str
    who: str
    command: str
    what: str


@dataclass(frozen=True)
class ChangesSince:
    """`last` is when the last run wrote its record, 0 if none did; `files` are newer, by path."""

    last: int
    files: dict[str, int]
    moves: list[AptTransaction]
    told: list[SudoCommand]


def read(output: list[str]) -> ChangesSince:
    """The answer in what SCRIPT printed. Raises NotSo."""
    lines = [line.strip().partition("=")[::2] for line in output]
    files = [value.partition(" ")[::2] for key, value in lines if key == "file"]
    return ChangesSince(
        last=untrusted.number(next((value for key, value in lines if key == "last"), "0"), 0, DAYS),
        files={untrusted.path(path): untrusted.number(when, 0, DAYS) for when, path in files},
        moves=sorted(_moved(value) for key, value in lines if key == "apt"),
        told=sorted(_told(value) for key, value in lines if key == "sudo"),
    )


def _told(value: str) -> SudoCommand:
    when, who, command = value.split("|", 2)
    return SudoCommand(untrusted.number(when, 0, DAYS), untrusted.words(who), command)


def _moved(value: str) -> AptTransaction:
    return AptTransaction(*map(untrusted.words, value.split("|", 3)))


def sentences(since: ChangesSince, changes: list[str]) -> list[str]:
    """Who may have caused these changes: first the files that they name or that are deeprig's by
    name, then apt, then sudo.
    """
    if not since.last or not changes:
        return []
    words = {word for change in changes for word in change.split()}
    named = [path for path in since.files if path in words or "deeprig" in path]
    newest = sorted(named, key=lambda path: -since.files[path])[:SHOWN]
    lines = [_file(path, since) for path in newest]
    lines += [_move(move) for move in since.moves[: -SHOWN - 1 : -1]]
    shown = [told for told in since.told if not any(path in told.command for path in named)]
    lines += [
        f"{_time(t.when)} {t.who}: sudo {_shown(t.command)}" for t in shown[: -SHOWN - 1 : -1]
    ]
    return [f"since the last run, {_time(since.last)}:", *(f"  {line}" for line in lines)]


def _file(path: str, since: ChangesSince) -> str:
    when = since.files[path]
    near = [t for t in since.told if path in t.command and abs(t.when - when) < SECONDS_APART]
    by = f", by {near[-1].who}: sudo {_shown(near[-1].command)}" if near else ""
    return f"{_time(when)} {path} was written{by}"


def _shown(command: str) -> str:
    """The program and the files that it was given: any other word may be a password."""
    program, *words = command.split() or ["something"]
    kept = [word if word.startswith("/") else "..." for word in words]
    return " ".join(
        [program, *(w for n, w in enumerate(kept) if w != "..." or kept[n - 1 : n] != [w])]
    )


def _move(move: AptTransaction) -> str:
    command = move.command or "a program"
    return f"{move.when} {f'{move.who}: ' if move.who else ''}{command}: {move.what[:160]}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
