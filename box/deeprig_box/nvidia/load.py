"""The modules loaded, or what keeps them from it, by the file that says so."""

import re
from collections.abc import Iterator
from pathlib import Path

from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.standing import LATER, OK, OWED, REFUSED, Standing
from deeprig_box.nvidia.driver import in_use, plan, said
from deeprig_box.nvidia.steps import run

FOLDERS = ("etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d")
ROOT = Path("/")


def check(words: list[str]) -> Standing:
    standing, _separator, why = in_use().partition(": ")
    if standing == "wrong":
        return Standing(REFUSED, f"{why}.")
    if standing == "reboot":
        return Standing(LATER, f"A reboot is owed: {why}.")
    return Standing(OWED if standing == "load" else OK)


def apply(_: list[str]) -> None:
    load()


def load() -> None:
    for module in (plan()["module"], "nvidia-uvm"):
        if why := run(f"Load {module}", ["modprobe", module]):
            raise BoxError(in_the_way(module) or f"{module} is not loaded: {why}")


def in_the_way(module: str) -> str:
    """The setting of modprobe that forbids it, with its file."""
    name = f"(?:nvidia|{module.replace('-', '[-_]')})"
    forbids = re.compile(rf"^\s*(?:alias\s+{name}\s+off|install\s+{name}\s.*(?:false|true))\s*$")
    if not any(map(forbids.match, said("modprobe", "--showconfig").splitlines())):
        return ""
    where = [file for file in files() if any(map(forbids.match, lines(file)))]
    return f"{' and '.join(map(str, where))} keeps {module} from being loaded; take that line out"


def files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).glob("*.conf"))


def lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines()


def main() -> None:
    raise BoxError("driver-load takes `check` or `apply`")
