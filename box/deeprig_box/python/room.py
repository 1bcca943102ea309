"""The room an environment takes, what a power cut left damaged of its packages, uv's lock files."""

import base64
import csv
import hashlib
import os
import shutil
from pathlib import Path

from deeprig_box.lib.errors import BoxError


def refuse_without_room(folder: Path, cache: Path, gigabytes: float, *, begun: bool) -> None:
    """Raise BoxError where the disk is too small for an environment of that size.

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
            raise BoxError(
                f"{folder} needs {needed:.1f} GB on the disk of {place}, and {free:.1f} GB are "
                "free; make room there, or take it out of Python(frameworks=...)"
            )


def _gigabytes_below(folder: Path) -> float:
    statuses = [path.lstat() for path in folder.rglob("*")]
    return sum({status.st_ino: status.st_size for status in statuses}.values()) / 1e9


def forget_damaged(cache: Path) -> None:
    """Take out of uv's cache what a power cut left half written; uv fetches it anew, and says
    neither that a file is empty nor, where it stumbles over one, what to do.
    """
    names = []
    for package in cache.glob("archive-v*/*"):
        records = list(package.glob("*.dist-info/RECORD"))
        if not records or not all(map(_is_whole, records)):
            names += [record.parent.name.partition("-")[0] for record in records] or [package.name]
            shutil.rmtree(package)
    if names:
        print(f"Forget what is damaged: {', '.join(sorted(names))}", flush=True)


def close_locks(*folders: Path) -> None:
    """uv has everybody write its lock files, whatever the umask: who holds one holds up all of uv.

    Not looked for among what it unpacked, which has none and is most of a cache.
    """
    for folder in folders:
        for place, below, files in os.walk(folder):
            below[:] = [name for name in below if not name.startswith("archive-v")]
            for name in files:
                lock = Path(place, name)
                if name.endswith(".lock") and not lock.is_symlink() and lock.stat().st_mode & 0o022:
                    lock.chmod(0o644)


def _is_whole(record: Path) -> bool:
    """Whether a package's files are what its own list says, the list itself included."""
    rows = _rows(record)
    return bool(rows) and all(_is_as_said(record.parents[1] / path, row) for path, row in rows)


def _rows(record: Path) -> list[tuple[str, str]]:
    with record.open(newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file) if len(row) == 3 and row[1]]


def _is_as_said(file: Path, said: str) -> bool:
    algorithm, _, digest = said.partition("=")
    try:
        with file.open("rb") as opened:
            digest_now = hashlib.new(algorithm)
            while block := opened.read(1 << 20):
                digest_now.update(block)
    except OSError:
        return False
    return base64.urlsafe_b64encode(digest_now.digest()).decode().rstrip("=") == digest
