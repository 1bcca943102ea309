"""Why apt does not do what is planned: a hold, somebody's preferences, a package half there.

Each is tried out and not guessed: without it, apt would do it.
Reads only.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deeprig_box.driver import simulate
from deeprig_box.driver.simulate import Simulation, is_of_branch
from deeprig_box.lib.errors import BoxError

FILE, FOLDER = Path("/etc/apt/preferences"), Path("/etc/apt/preferences.d")
# What keeps to the plan: ours, and NVIDIA's own pinning package's.
OURS = re.compile(r"^(zz-)?deeprig-|^nvidia-driver-pin$")
ANYWAY = ["--ignore-hold", "--allow-change-held-packages"]
HALF = re.compile(r"The package (\S+) needs to be reinstalled")


def why(names: list[str], would: Simulation) -> str:
    """What keeps apt from it, with the way out; apt's own words where it is none of these."""
    return (
        half(would.why_not)
        or holds(names)
        or preferences(lambda options: not simulate.simulated([*options, *names]).why_not)
        or f"apt cannot do it: {would.why_not}"
    )


def half(said: str) -> str:
    """A package that was cut off while it came, and that no archive has."""
    match = HALF.search(said)
    if match is None:
        return ""
    return (
        f"{match[1]} is half installed, and no archive has it; "
        f"`sudo dpkg --remove --force-remove-reinstreq {match[1]}` takes it out"
    )


def holds(names: list[str]) -> str:
    held = simulate.held()
    free = simulate.simulated([*ANYWAY, *names]) if held else None
    if free is None or free.why_not:
        return ""
    these = [arrival.name for arrival in free.arrives if arrival.name in held]
    if not these:
        return ""
    are = "is" if len(these) == 1 else "are"
    every = " ".join(these)
    return f"{every} {are} held; `sudo apt-mark unhold {every}` lets the driver come"


def preferences(works: Callable[[list[str]], bool]) -> str:
    """The file without which it works."""
    for file in others():
        with tempfile.TemporaryDirectory() as corner:
            if works(without(file, Path(corner))):
                return f"{file} keeps apt from it; change it, or `sudo rm {file}`"
    return ""


def others() -> Iterator[Path]:
    """The preferences that are not ours."""
    yield from (f for f in sorted(FOLDER.glob("*")) if f.is_file() and not OURS.match(f.name))
    if FILE.is_file():
        yield FILE


def without(file: Path, corner: Path) -> list[str]:
    """apt's options to look at all preferences but these."""
    if file == FILE:
        return ["-o", "Dir::Etc::Preferences=/dev/null"]
    for other in FOLDER.glob("*"):
        if other != file:
            (corner / other.name).symlink_to(other)
    return ["-o", f"Dir::Etc::PreferencesParts={corner}"]


def refuse(names: list[str], would: Simulation, plan: dict[str, Any]) -> None:
    """End here where apt would do anything but the plan."""
    if would.why_not:
        raise BoxError(f"{why(names, would)}; nothing was installed")
    if objection := simulate.objection(would, names, plan, simulate.held()):
        raise BoxError(f"{objection}; nothing was installed")


def settled(package: str, branch: str) -> None:
    """Raises BoxError where apt would take this package of another branch, or not at all."""
    version = simulate.candidate(package)
    if is_of_branch(package, version, branch):
        return
    blame = preferences(
        lambda options: is_of_branch(package, simulate.candidate(package, *options), branch)
    )
    raise BoxError(
        f"apt would take {package} {version or '(none)'}, and the plan is {branch}"
        f"{f': {blame}' if blame else ''}"
    )
