"""Processes as /proc has them; one that ends meanwhile, or is not ours to see, is not there."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def every() -> list[Path]:
    """Their folders, the oldest numbers first."""
    return sorted(PROC.glob("[0-9]*"), key=lambda place: int(place.name))


def open_files(pid: int) -> Iterator[Path]:
    """What leads to each file that it has open."""
    with suppress(OSError):
        yield from Path(PROC, f"{pid}/fd").iterdir()


def leads_to(links: Iterator[Path]) -> list[str]:
    """The names of those files, as far as they can be told."""
    names = []
    for link in links:
        with suppress(OSError):
            names.append(str(link.readlink()))
    return names


def name(pid: int) -> str:
    """Its name, as it can be printed; empty where it is gone."""
    try:
        return visible(Path(PROC, f"{pid}/comm").read_text(errors="replace").strip())
    except OSError:
        return ""


def visible(text: str) -> str:
    """What somebody chose, as it can be printed."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
