"""The driver that is wanted, the one that stands, and why the one must not take the other's place.

Reads only.
"""

import json
from pathlib import Path
from typing import Any

from deeprig_box.driver import foreign
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.standing import OK, REFUSED, Standing
from deeprig_box.nvidia import driver

WANTED = Path("/etc/deeprig/driver-wanted.json")
WHOSE = {"distro": "the distribution", "nvidia": "NVIDIA"}
SAME = ("branch", "source", "flavour", "modules")
BY_HAND = Path("/usr/bin/nvidia-uninstall")


def wanted() -> dict[str, Any]:
    return json.loads(WANTED.read_text()) if WANTED.exists() else driver.plan()


def stands() -> dict[str, Any] | None:
    """The plan of the driver that is there, by us; None where there is none."""
    if not driver.PLAN.exists() or not driver.driver_version():
        return None
    return driver.plan()


def kept() -> str:
    """Why the driver that stands is left, though the plan is another; "" where it is the same."""
    now, planned = stands(), wanted()
    if now is None or all(now[field] == planned[field] for field in SAME):
        return ""
    plan = " ".join(planned[field] for field in ("branch", "flavour"))
    return (
        f"driver {driver.driver_version()} ({now['flavour']}) is installed, the plan is "
        f"{plan}; `deeprig driver upgrade` moves it"
    )


def objection() -> str:
    """Why this driver must not come, though apt could bring it; "" where it may."""
    planned, now = wanted(), stands()
    if now is not None:
        return "" if now["source"] == planned["source"] else from_another(planned, now["source"])
    if BY_HAND.exists() and not driver.said("dpkg-query", "-S", str(BY_HAND)):
        return (
            "a driver from NVIDIA's .run file is there; take it out with `sudo nvidia-uninstall`, "
            "or set Rig.driver to None"
        )
    other = foreign.by_others()
    if other is None:
        return ""
    library = planned.get("library", other.name)  # which a plan of an older deeprig has not
    if (other.source, other.branch, other.name) == (planned["source"], planned["branch"], library):
        return ""
    return (
        f"driver {other.version} ({other.name}) is there, which deeprig did not install, and the "
        f"plan is {planned['branch']} from {WHOSE[planned['source']]} ({library}); "
        f"Rig(driver=None) leaves it alone, `sudo apt purge {' '.join(other.packages)}` makes room"
    )


def from_another(asked: dict[str, Any], source: str) -> str:
    return (
        f"driver {driver.driver_version()} from {WHOSE[source]} is installed, and the plan "
        f'takes {WHOSE[asked["source"]]}\'s; Driver(source="{source}") keeps it, '
        "`deeprig driver upgrade` moves it"
    )


def check(_: list[str]) -> Standing:
    """Whether the wanted driver may come to this box at all; nothing of ours mends it."""
    why = objection()
    return Standing(REFUSED, f"{why[0].upper()}{why[1:]}.") if why else Standing(OK)


def apply(words: list[str]) -> None:
    """Only the reason why it cannot."""
    if (standing := check(words)).state == REFUSED:
        raise BoxError(standing.say)


def main() -> None:
    raise BoxError("driver-may-come takes `check` or `apply`")
