"""NVIDIA's driver as it is planned: whole, with a module for each kernel, or gone.

state      one line: `ok ...`, `kept ...` for another one that stands, or what is missing
headers    `ok`, or those of the kernels that are missing, as apt takes them
have-headers  bring them, or none of them and the reason
install    bring it about; if the modules do not build, take out what came, so that dpkg is clean
mend       the same for an install that was cut off; does nothing where none was

What is wanted is /etc/deeprig/driver-wanted.json; what stands is /etc/deeprig/driver.json.
Exit status 0 when done, 1 after one line on stderr that says what is wrong.
"""

import shutil
import sys
from collections.abc import Callable
from typing import Any

from deeprig_box.driver import debs, dkms, headers, reasons, simulate
from deeprig_box.driver.cleanup import (
    BEFORE,
    CAME,
    arrived,
    came,
    give_up,
    mend,
    stands_again,
    take_over,
    unpin,
)
from deeprig_box.driver.desired import kept, objection, stands, wanted
from deeprig_box.driver.simulate import APT_GET
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.standing import OK, OWED, Standing
from deeprig_box.nvidia import driver, index
from deeprig_box.nvidia.steps import run


def state() -> str:
    if why := kept():
        standing = driver.state()
        return f"kept: {why}" if standing.startswith("ok ") else standing
    if stands() is None:
        return f"not installed: {' '.join(wanted()['packages'])}"
    if driver.plan() != wanted():
        return "the plan says more than the driver that stands"
    if CAME.exists():
        return "its install was cut off"  # whole by now or not, its packages are not kept yet
    return driver.state()


def check(_: list[str]) -> Standing:
    standing = state()
    if standing.startswith("kept: "):
        why = standing.removeprefix("kept: ")
        return Standing(OK, f"{why[0].upper()}{why[1:]}.")
    return Standing(OK) if standing.startswith("ok ") else Standing(OWED, standing)


def apply(_: list[str]) -> None:
    install()


def install() -> None:
    if why := objection():
        raise BoxError(why)
    if why := kept():
        print(f"Left: {why}", flush=True)
    else:
        take_over()
        fetch_and_install()
    dkms.newest_has_what_it_needs()
    dkms.build_what_is_missing()
    dkms.fetch_what_is_missing()
    state = driver.state()
    if not state.startswith("ok "):
        give_up(state)
    if not shutil.which("nvidia-smi"):
        give_up("nvidia-smi did not come with the packages")
    debs.keep_downloads(driver.driver_version(), driver.driver_set())
    arrived()
    BEFORE.unlink(missing_ok=True)
    print(f"Proved: {state.removeprefix('ok ')}", flush=True)


def fetch_and_install() -> None:
    """Pin, then simulate and compare, then install; each a transaction of its own."""
    plan, versions = driver.plan(), driver.installed()
    missing = [name for name in plan["packages"] if name not in versions]
    if not missing:
        return
    try:
        dkms.newest_has_what_it_needs()
        index.read_anew(plan)
        pin(plan)
        names = simulate.as_installed(missing, driver.driver_version())
        would = simulate.simulated(names)
        reasons.refuse(names, would, plan)
        came([arrival.name for arrival in would.arrives if not arrival.old])
    except BoxError:
        unpin()
        stands_again()
        raise
    why = run(
        "Install the driver and its modules",
        [*APT_GET, *debs.install_options(), "install", *names],
    )
    if why and not driver.driver_version():
        give_up(why)


def pin(plan: dict[str, Any]) -> None:
    """The branch is settled before anything is resolved; asked of apt, not believed."""
    name = plan.get("pin", "")
    if name and name not in driver.installed():
        would = simulate.simulated([name])
        if would.why_not:
            raise BoxError(f"{reasons.why([name], would)}; nothing was installed")
        if [arrival.name for arrival in would.arrives] != [name] or would.removed:
            raise BoxError(f"apt would bring more than {name}; nothing was installed")
        came([name])
        if why := run(f"Pin branch {plan['branch']}", [*APT_GET, "install", name]):
            raise BoxError(f"{name}: {why}")
    entries = plan["packages"] if plan["source"] == "nvidia" else plan["packages"][:1]
    for package in (entry.partition("=")[0] for entry in entries):
        reasons.settled(package, plan["branch"])


def main() -> None:
    says: dict[str, Callable[[], str]] = {
        "state": state,
        "headers": lambda: " ".join(headers.lacking(wanted())) or "ok",
    }
    does: dict[str, Callable[[], object]] = {
        "have-headers": lambda: headers.install(wanted()),
        "install": install,
        "mend": mend,
    }
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    if action in says:
        print(says[action]())
    elif action in does:
        does[action]()
    else:
        raise BoxError(f"driver-set takes one of: {', '.join([*says, *does])}")
