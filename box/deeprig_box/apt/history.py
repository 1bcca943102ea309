"""Who moved which package when, by the logs of apt and dpkg, packed ones too.

Reads only.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

LOGS = Path("/var/log")
DONE = ("Install", "Upgrade", "Downgrade", "Reinstall", "Remove", "Purge")
# "libnvidia-compute-580:amd64 (580.173.02-0ubuntu1, 580.178.04-0ubuntu1)"
CHANGE = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::\w+)? \(([^)]*)\)")
# "2026-11-24 06:12:01 upgrade libnvidia-compute-580:amd64 580.173.02-0ubuntu1 580.178.04-0ubuntu1"
DPKG = re.compile(
    r"^(\S+ \S+) (install|upgrade|remove|purge) ([a-z0-9][a-z0-9+.-]*)(?::\w+)? (\S+) (\S+)$"
)
UNPACKING = re.compile(r"^Unpacking ([a-z0-9][a-z0-9+.-]*)(?::\w+)? \((\S+)\)(?: over \((\S+)\))?")
STARTED = re.compile(r"^Log started: (\S+)\s+(\S+)")


class Moved(NamedTuple):
    """A package's move; `by` is the command, where apt noted it, `line` what the log says."""

    when: str
    what: str
    name: str
    old: str
    new: str
    by: str
    log: str
    line: str


def moves(names: Iterable[str], folder: Path = LOGS) -> list[Moved]:
    """All moves of these packages, oldest first: by apt's history, else by dpkg's log, else by
    what apt showed.
    """
    packages = set(names)
    moved: list[Moved] = []
    for log, read in (("apt/history.log", history), ("dpkg.log", dpkg), ("apt/term.log", terminal)):
        known = {(move.name, move.new) for move in moved}
        for file in sorted(folder.glob(f"{log}*")):
            moved += [
                move
                for move in read(lines(file), str(file))
                if move.name in packages and (move.name, move.new) not in known
            ]
    return sorted(moved)


def lines(file: Path) -> list[str]:
    try:
        text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError):
        return []
    return text.decode(errors="replace").splitlines()


def history(said: list[str], log: str) -> Iterator[Moved]:
    when = by = ""
    for line in said:
        key, _, value = line.partition(": ")
        if key == "Start-Date":
            when, by = " ".join(value.split()), ""
        elif key == "Commandline":
            by = value
        elif key in DONE:
            for name, versions in CHANGE.findall(value):
                one, _, two = versions.removesuffix(", automatic").partition(", ")
                old, new = (one, two) if two else ("", one)
                if key in ("Remove", "Purge"):
                    old, new = one, ""
                short = f"{key}: {name} ({versions})"
                yield Moved(when, key.lower(), name, old, new, by, log, f"{when} {short}")


def dpkg(said: list[str], log: str) -> Iterator[Moved]:
    for line in said:
        if match := DPKG.match(line):
            when, what, name, old, new = (word.replace("<none>", "") for word in match.groups())
            yield Moved(when, what, name, old, new, "", log, line)


def terminal(said: list[str], log: str) -> Iterator[Moved]:
    when = ""
    for line in said:
        if match := STARTED.match(line):
            when = f"{match[1]} {match[2]}"
        elif match := UNPACKING.match(line):
            name, new, old = match.groups()
            yield Moved(when, "unpack", name, old or "", new, "", log, f"{when} {line}")
