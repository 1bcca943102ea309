"""NVIDIA's driver branches: their own CUDA, their end, and where they can be had."""

from datetime import date
from typing import Any

from deeprig import data

KINDS = ("long-term", "production", "new-feature")


def number(version: str) -> tuple[int, ...]:
    """(13, 0) for 13.0; parts that are no numbers are left out, so that any text compares."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def known() -> dict[str, dict[str, Any]]:
    """The rows of the table by name, in the order in which a branch is taken."""
    rows: list[dict[str, Any]] = data.load("drivers")["branch"]
    ordered = sorted(rows, key=lambda row: (KINDS.index(row["kind"]), -int(row["name"])))
    return {row["name"]: row for row in ordered}


def at(system: str, source: str, architecture: str | None = None) -> list[str]:
    """The branches that a source has for a system, by the tables, best first."""
    row = repository(system, architecture) if source == "nvidia" else archive(system)
    return [name for name in known() if row and name in row["branches"]]


def repository(system: str, architecture: str | None = None) -> dict[str, Any] | None:
    """NVIDIA's repository for a system, if it has a folder for this architecture (or for any)."""
    rows: list[dict[str, Any]] = data.load("repositories")["repository"]
    row = next((row for row in rows if row["system"] == system), None)
    return row if row and architecture in (None, *row["architectures"]) else None


def archive(system: str) -> dict[str, Any] | None:
    """The distribution's own archive."""
    rows: list[dict[str, Any]] = data.load("drivers")["archive"]
    return next((row for row in rows if row["system"] == system), None)


def of_version(version: str) -> str:
    """The branch of a driver's version, such as 580 for 580.178.04; "" where it is none."""
    first = version.partition(".")[0]
    return first if first.isdecimal() else ""


def cuda(branch: str) -> str:
    """The CUDA that a driver runs: its own, or that of the nearest older one in the table."""
    older = [row for name, row in known().items() if int(name) <= int(branch)]
    found: str = max(older, key=lambda row: int(row["name"]))["cuda"] if older else "0.0"
    return found


def end(branch: str) -> date | None:
    """When NVIDIA's fixes end; None where nobody says, or for an unknown branch."""
    found: date | None = known().get(branch, {}).get("end")
    return found
