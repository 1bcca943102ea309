"""Whose the driver's libraries are that programs on this box get: asked of dpkg, file by file.

Written by deeprig (files/usr/local/lib/deeprig/driver_libraries.py): change it there. Reads only.
"""

from collections.abc import Iterator
from pathlib import Path

from driver_proof import said

NAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
FOLDERS = ("usr/lib", "usr/lib/*-linux-gnu*", "usr/lib32", "usr/lib64")
ROOT = Path("/")


def files() -> Iterator[Path]:
    """Where a driver's package, or NVIDIA's own installer, puts them."""
    for folder in FOLDERS:
        for place in sorted(ROOT.glob(folder)):
            yield from (place / name for name in NAMES if (place / name).exists())


def owner(file: Path) -> str:
    """The package, with its architecture where dpkg says it; "" for nobody's.

    It is the file behind all links that is somebody's: ldconfig leads a package's own link to the
    newest library of that name, whoever has put it there.
    """
    path = str(file.resolve())
    for line in said("dpkg", "-S", path).splitlines():
        names, _, place = line.partition(": ")
        if place == path and not line.startswith("diversion "):
            return names.partition(",")[0]
    return ""


def owners() -> dict[Path, str]:
    return {file: owner(file) for file in files()}
