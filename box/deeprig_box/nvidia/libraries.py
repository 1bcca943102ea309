"""The driver's libraries that programs get, and whose files they are: asked of dpkg, file by file.

Reads only.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from deeprig_box.nvidia.driver import said

NAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
FOLDERS = ("usr/lib", "usr/lib/*-linux-gnu*", "usr/lib32", "usr/lib64")
LOADER = Path("/etc/ld.so.conf.d")
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
    whole = str(file.resolve())
    for path in dict.fromkeys([whole, whole.removeprefix("/usr")]):  # before /usr was merged
        for line in said("dpkg", "-S", path).splitlines():
            names, _, place = line.partition(": ")
            if place == path and not line.startswith("diversion "):
                return names.partition(",")[0]
    return ""


def owners() -> dict[Path, str]:
    return {file: owner(file) for file in files()}


def all_of_them() -> list[dict[str, str]]:
    """For each name: the file behind it, its version, the package that owns it ("" for none), and
    the file of ld.so.conf that puts its folder first, where one names it.
    """
    known = said("ldconfig", "-p")
    return [about(name, first(known, name)) for name in NAMES]


def first(known: str, name: str) -> Path:
    """The one that the loader takes, by `ldconfig -p`."""
    form = rf"^\s+{re.escape(name)} .*(?:x86-64|AArch64).* => (\S+)$"
    match = re.search(form, known, re.MULTILINE)
    return Path(match[1] if match else f"/usr/lib/{os.uname().machine}-linux-gnu/{name}")


def about(name: str, link: Path) -> dict[str, str]:
    if not link.exists():
        return {"name": name, "file": "", "version": "", "owner": "", "named_in": ""}
    file = link.resolve()
    return {
        "name": name,
        "file": str(file),
        "version": file.name.partition(".so.")[2],
        "owner": owner(file).partition(":")[0],
        "named_in": named_in(link.parent),
    }


def named_in(folder: Path) -> str:
    for file in sorted(LOADER.glob("*.conf")) if LOADER.exists() else []:
        lines = [line.strip().rstrip("/") for line in file.read_text(errors="replace").splitlines()]
        if any(
            line and Path(line).resolve() == folder.resolve() for line in lines if line[0:1] == "/"
        ):
            return str(file)
    return ""
