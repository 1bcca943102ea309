"""NVIDIA's driver branches: their own CUDA, their end, and where they can be had."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache
from typing import Any

from deeprig import catalog

KINDS = ("long-term", "production", "new-feature")


def number(version: str) -> tuple[int, ...]:
    """(13, 0) for 13.0; parts that are no numbers are left out, so that any text compares."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


@cache
def known() -> dict[str, dict[str, Any]]:
    """The rows of the table by name, in the order in which a branch is taken."""
    rows: list[dict[str, Any]] = catalog.load("drivers")["branch"]
    ordered = sorted(rows, key=lambda row: (KINDS.index(row["kind"]), -int(row["name"])))
    return {row["name"]: row for row in ordered}


def row(name: str) -> dict[str, Any]:
    """The row of a branch; for one that no table knows, what may be said of any."""
    new = {"name": name, "kind": "new-feature", "flavours": ["open", "proprietary"], "new": True}
    return known().get(name, new)


def at(system: str, source: str, architecture: str | None = None) -> list[str]:
    """The branches that a source has for a system, by the tables, best first on any day."""
    row_of_source = repository(system, architecture) if source == "nvidia" else archive(system)
    return [name for name in known() if row_of_source and name in row_of_source["branches"]]


def on(today: date, names: Iterable[str]) -> list[str]:
    """The same in the order of that day: those that are too young, and then those that have ended,
    come after all the others.
    """
    return sorted(names, key=lambda name: (has_ended(name, today), is_young(name, today)))


def is_young(branch: str, today: date) -> bool:
    """Whether it is too new to be a default; drivers.toml says why."""
    since: date | None = known().get(branch, {}).get("since")
    days = timedelta(days=catalog.load("drivers")["young_days"])
    return since is not None and today < since + days


def has_ended(branch: str, today: date) -> bool:
    """Whether NVIDIA mends it no more."""
    last = end(branch)
    return last is not None and last < today


def repository(system: str, architecture: str | None = None) -> dict[str, Any] | None:
    """NVIDIA's repository for a system, if it has a folder for this architecture (or for any)."""
    rows: list[dict[str, Any]] = catalog.load("repositories")["repository"]
    row = next((row for row in rows if row["system"] == system), None)
    return row if row and architecture in (None, *row["architectures"]) else None


def archive(system: str) -> dict[str, Any] | None:
    """The distribution's own archive."""
    rows: list[dict[str, Any]] = catalog.load("drivers")["archive"]
    return next((row for row in rows if row["system"] == system), None)


def of_version(version: str) -> str:
    """The branch of a driver's version, such as 580 for 580.178.04; "" where it is none."""
    first = version.partition(".")[0]
    return first if first.isdecimal() else ""


def cuda(branch: str) -> str:
    """The CUDA that a driver runs: its own, or that of the nearest older one in the table."""
    older = [row for name, row in known().items() if int(name) <= int(branch)]
    version: str = max(older, key=lambda row: int(row["name"]))["cuda"] if older else "0.0"
    return version


def covers(branch: str, toolkit: str) -> bool:
    """Whether a toolkit is no newer than the CUDA of the driver itself."""
    return number(toolkit) <= number(cuda(branch))


def runs(branch: str, toolkit: str) -> bool:
    """Whether the driver runs what a toolkit makes: that of its own major, and of older ones.

    docs.nvidia.com/deploy/cuda-compatibility, minor version compatibility.
    """
    return number(toolkit)[:1] <= number(cuda(branch))[:1]


def end(branch: str) -> date | None:
    """When NVIDIA's fixes end; None where nobody says, or for an unknown branch."""
    day: date | None = known().get(branch, {}).get("end")
    return day
