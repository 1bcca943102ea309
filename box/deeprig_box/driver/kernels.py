"""Kernels that move with a driver whose modules come ready made: the newest that has them."""

import re
from typing import Any

from deeprig_box.driver import simulate
from deeprig_box.driver.simulate import Simulation
from deeprig_box.nvidia import driver
from deeprig_box.nvidia.driver import PREBUILT
from deeprig_box.nvidia.held_updates import newer


def to_try(plan: dict[str, Any], old: dict[str, str]) -> list[list[str]]:
    """The kernel's own packages as apt takes them: the newest, older ones, as they are."""
    names = plan.get("kernel_metapackages", []) if plan["modules"] == "prebuilt" else []
    installed = old.get(names[0], "") if names else ""
    offered = simulate.offered(names[0]) if installed else []
    others = [v for v in offered if v != simulate.candidate(names[0]) and newer(v, installed)]
    tried = [names, *([f"{name}={version}" for name in names] for version in others)]
    return [*tried, []] if names else [[]]


def without_modules(would: Simulation, plan: dict[str, Any]) -> str:
    """The first kernel that would come, and for which the archive has no modules of this driver."""
    if plan["modules"] != "prebuilt":
        return ""
    arrive = {arrival.name for arrival in would.arrives}
    names = (arrive | driver.installed().keys()) - set(would.removed)
    for name in sorted(arrive):
        kernel = re.fullmatch(r"linux-image-(\d.+)", name)
        own = f"{PREBUILT}{plan['branch']}-"
        if kernel and not any(n.startswith(own) and n.endswith(f"-{kernel[1]}") for n in names):
            return kernel[1]
    return ""
