"""The room an environment takes, and which of its files a power cut left damaged.

Written by deeprig (files/usr/local/lib/deeprig/env_files.py): change it there.
"""

import base64
import csv
import hashlib
import shutil
from pathlib import Path

from install_step import Wrong


def refuse_without_room(folder: Path, cache: Path, gigabytes: float, *, begun: bool) -> None:
    """Raise Wrong where the disk is too small for an environment of that size.

    uv unpacks into its cache and links from there, or copies where the cache is on another disk.
    What an install that had `begun` put into the cache need not come again.
    """
    home = next(place for place in folder.parents if place.exists())
    shared = home.stat().st_dev == cache.stat().st_dev
    cached = _gigabytes_below(cache) if begun else 0
    new = gigabytes - cached
    needs = {home: new} if shared else {cache: new, home: gigabytes}
    for place, needed in needs.items():
        free = shutil.disk_usage(place).free / 1e9
        if needed > free:
            raise Wrong(
                f"{folder} needs {needed:.1f} GB on the disk of {place}, and {free:.1f} GB are "
                "free; make room there, or take it out of Python(frameworks=...)"
            )


def _gigabytes_below(folder: Path) -> float:
    statuses = [path.lstat() for path in folder.rglob("*")]
    return sum({status.st_ino: status.st_size for status in statuses}.values()) / 1e9


def damaged(folder: Path) -> list[str]:
    """Packages with a file that is not what they themselves say it should be."""
    return sorted(
        record.parent.name.partition("-")[0]
        for record in folder.glob("lib/python3*/site-packages/*.dist-info/RECORD")
        if not all(_is_whole(record.parents[1] / path, said) for path, said in _rows(record))
    )


def _rows(record: Path) -> list[tuple[str, str]]:
    with record.open(newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file) if len(row) == 3 and row[1]]


def _is_whole(file: Path, said: str) -> bool:
    algorithm, _, digest = said.partition("=")
    try:
        with file.open("rb") as opened:
            found = hashlib.new(algorithm)
            while block := opened.read(1 << 20):
                found.update(block)
    except OSError:
        return False
    return base64.urlsafe_b64encode(found.digest()).decode().rstrip("=") == digest
