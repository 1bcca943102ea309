"""An environment's lock: every package with its version and checksums, for what was asked for.

It lies beside the environment, and in the data folder, where it outlives a reinstall.
"""

import re
from pathlib import Path

from deeprig_box.lib import files

HEAD = "# Made by deeprig for: "
LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
MOST_BYTES = 16 * 2**20


class Lock:
    """`kept` is where it outlives a reinstall, None where there is no such place."""

    def __init__(self, beside: Path, kept: Path | None, made_for: str) -> None:
        self.places = [beside, *([kept] if kept else [])]
        self.head = f"{HEAD}{made_for}"

    def find(self) -> Path | None:
        """The first that was made for just this."""
        return next((place for place in self.places if self._fits(place)), None)

    def keep(self, text: str) -> Path:
        """Have it in each place, by one step; the first of them is given back."""
        whole = text if text.startswith(self.head) else f"{self.head}\n{LOGIN.sub('', text)}"
        for place in self.places:
            if place.is_file() and read(place) == whole:
                continue
            files.write(place, whole)
        return self.places[0]

    def _fits(self, place: Path) -> bool:
        return place.is_file() and read(place).partition("\n")[0] == self.head


def read(place: Path) -> str:
    with place.open(errors="replace") as file:
        return file.read(MOST_BYTES)


def with_own(compiled: str, own: str) -> str:
    """What uv resolved, but for the packages that somebody gave checksums for: with those alone."""
    theirs = {name: block for name, block in blocks(own).items() if "--hash" in block}
    return "".join(f"{theirs.get(name, block)}\n" for name, block in blocks(compiled).items())


def blocks(text: str) -> dict[str, str]:
    """Name -> its requirement with its checksums, of a requirements file."""
    requirements = re.findall(r"^([\w.-]+)(.*(?:\n[ \t]+--hash.*)*)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): f"{name}{rest}" for name, rest in requirements}
