"""From one driver to another in one transaction: simulated, compared, fetched, installed."""

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from deeprig_box.boot import kernel_check
from deeprig_box.driver import debs, dkms, kernels, reasons, simulate
from deeprig_box.driver.simulate import APT_GET, DRIVER_VERSION, Simulation
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver
from deeprig_box.nvidia.driver import PREBUILT, upstream
from deeprig_box.nvidia.steps import run

PINS = "nvidia-driver-pinning-"
MAKE_LOG = Path("/var/log/deeprig/driver-make.log")
# Held packages move here on purpose, and a tool may be newer than the branch that is asked for.
LETS = ["--allow-downgrades", "--allow-change-held-packages", "-o", "DPkg::Lock::Timeout=600"]


class Way(NamedTuple):
    """`names` as apt takes them, an old name with a "-" behind it; `would` is its simulation."""

    version: str
    names: list[str]
    would: Simulation

    @property
    def came(self) -> list[str]:
        return [arrival.name for arrival in self.would.arrives if not arrival.old]

    @property
    def is_nothing(self) -> bool:
        return not self.would.arrives and not self.would.removed


def pins_to_move(plan: dict[str, Any]) -> list[str]:
    """Pinning packages that are not the plan's, and the plan's own where it is missing."""
    names, own = driver.installed(), plan.get("pin", "")
    others = [name for name in names if name.startswith(PINS) and name != own]
    return [*others, *([own] if own and own not in names else [])]


def pin(plan: dict[str, Any]) -> None:
    """The branch is settled, in transactions of its own, before anything is resolved."""
    own = plan.get("pin", "")
    # Purged, for a pin's file is a conffile: it would stay and speak for the old branch.
    for name in pins_to_move(plan):
        if name != own and (why := run(f"Let go of {name}", ["dpkg", "--purge", name])):
            raise BoxError(f"{name}: {why}")
    if own and own not in driver.installed():
        would = simulate.simulated([own])
        if would.why_not:
            raise BoxError(reasons.why([*LETS, own], would))
        if [arrival.name for arrival in would.arrives] != [own] or would.removed:
            raise BoxError(f"apt would bring more than {own}")
        if why := run(f"Pin branch {plan['branch']}", [*APT_GET, *LETS, "install", own]):
            raise BoxError(f"{own}: {why}")


def settled(plan: dict[str, Any]) -> str:
    """The version that apt would take now; a sentence where that is of another branch."""
    first = plan["packages"][0].partition("=")[0]
    reasons.settled(first, plan["branch"])
    return upstream(simulate.candidate(first))


def choose(plan: dict[str, Any], old: dict[str, str], old_plan: dict[str, Any]) -> Way:
    """What to ask of apt so that every part of the old driver moves or goes.

    Modules that come ready made are of one kernel each: the newest that has them comes along.
    """
    version = settled(plan)
    names = [entry.partition("=")[0] for entry in plan["packages"]]
    names += also_asked(old, old_plan, plan, version)
    own = [exactly(name, version) for name in dict.fromkeys(names)]
    for kernel in kernels.to_try(plan, old):
        request = [*own, *kernel]
        would = simulated(request)
        if not kernels.without_modules(would, plan):
            break
    names += plan.get("kernel_metapackages", [])
    left = left_behind(names, old, would, plan, version)
    if left:
        request += [exactly(name, version, gone=f"{name}-") for name in left]
        would = simulated(request)
    return Way(version, request, would)


def simulated(asked: list[str]) -> Simulation:
    return simulate.simulated([*LETS, *asked])


def exactly(name: str, version: str, gone: str = "") -> str:
    """With the driver's version where there is one; else `gone`, or the name alone."""
    exact = next((v for v in simulate.offered(name) if upstream(v) == version), "")
    return f"{name}={exact}" if exact else gone or name


def also_asked(
    old: dict[str, str], old_plan: dict[str, Any], plan: dict[str, Any], version: str
) -> list[str]:
    """Parts that somebody asked for beside the plan, under the names they have in this branch."""
    manual = set(driver.said("apt-mark", "showmanual").split())
    planned = {entry.partition("=")[0] for entry in old_plan["packages"]}
    names = []
    for name in sorted((old.keys() & manual) - planned):
        if not DRIVER_VERSION.match(upstream(old[name])):
            continue  # a pin, or a kernel's metapackage
        plain = name.replace(f"-{old_plan['branch']}", "")
        for here in (name, name.replace(old_plan["branch"], plan["branch"]), plain,
                     f"{plain}-{plan['branch']}"):  # fmt: skip
            if any(upstream(v) == version for v in simulate.offered(here)):
                names.append(here)
                break
    return names


def left_behind(
    names: list[str], old: dict[str, str], would: Simulation, plan: dict[str, Any], version: str
) -> list[str]:
    """Parts of the old driver that neither move nor go by themselves, and do not fit."""
    moves = {arrival.name for arrival in would.arrives} | set(would.removed)

    def fits(name: str, its: str) -> bool:
        if name.startswith(PINS):
            return True
        if name.startswith(PREBUILT):
            return name.startswith(f"{PREBUILT}{plan['branch']}-")
        return not DRIVER_VERSION.match(upstream(its)) or upstream(its) == version

    return [n for n, its in old.items() if n not in moves and n not in names and not fits(n, its)]


def objection(way: Way, old: dict[str, str], plan: dict[str, Any]) -> str:
    """Why apt must not do that; "" where it moves the driver and nothing else."""
    would = way.would
    if would.why_not:
        return reasons.why([*LETS, *way.names], would)
    if others := [name for name in would.removed if name not in old]:
        return f"apt would remove {' '.join(others)}"
    going = {name.partition("=")[0] for name in way.names if not name.endswith("-")}
    arriving = {arrival.name for arrival in would.arrives}
    if kernel := kernels.without_modules(would, plan):
        return (
            f"the archive has no modules of driver {way.version} for kernel {kernel} yet, which "
            "apt would bring along; try again in a few days"
        )
    names = driver.installed()
    for name in sorted(going - arriving):
        if name not in names or name in would.removed:
            return f"apt would not install {name}"
    held = simulate.held() - old.keys()
    for arrival in would.arrives:
        own = arrival._replace(old="") if arrival.name in old else arrival
        if why := simulate.unplanned(own, plan, held):
            return why
    return simulate.uneven(would, plan)


def fetch(way: Way) -> None:
    """All of it is on the box before the first package moves."""
    argv = [*APT_GET, *LETS, *debs.install_options(), "--download-only", "install"]
    if why := run(f"Fetch driver {way.version}", [*argv, *way.names]):
        raise BoxError(f"driver {way.version} cannot be fetched: {why}")


def install(way: Way) -> None:
    argv = [*APT_GET, *LETS, *debs.install_options(), "install", *way.names]
    why = run(f"Install driver {way.version} and its modules", argv)
    dkms.build_what_is_missing()
    state = driver.state()
    if not state.startswith("ok "):
        raise BoxError(why_not_built() or why or state)
    if driver.driver_version() != way.version:
        raise BoxError(f"driver {driver.driver_version()} is there instead of {way.version}")
    if half := driver.said("dpkg", "--audit"):
        raise BoxError(why or f"dpkg is left with: {' '.join(half.split())[:200]}")
    if not shutil.which("nvidia-smi"):
        raise BoxError("nvidia-smi did not come with the packages")
    print(f"Proved: {state.removeprefix('ok ')}", flush=True)


def why_not_built() -> str:
    """What the compiler said, where a build failed; its log is shown, and kept."""
    shown = kernel_check.build_log()
    if not shown:
        return ""
    if match := re.match(r"The end of (\S+):$", shown[0]):
        shutil.copy(match[1], MAKE_LOG)
        shown[0] = f"The end of {MAKE_LOG}:"
    print("\n".join(shown), flush=True)
    errors = [line.partition("error: ")[2] for line in shown if "error: " in line]
    return f"the driver's modules do not build ({errors[0]})" if errors else ""
