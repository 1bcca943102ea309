"""How the driver stands, as facts: loaded, on disk, installed, planned, held, offered, waiting.

Reads only.
"""

import platform
import re
import time
from pathlib import Path
from typing import Any

from deeprig_box.apt import history
from deeprig_box.boot import kernel_check
from deeprig_box.boot.grub import Loader
from deeprig_box.driver import debs, hold, simulate, snapshot, state
from deeprig_box.nvidia import driver, held_updates, index, libraries
from deeprig_box.nvidia.driver import said

RUNNING = Path("/proc/driver/nvidia/version")
MOST_MOVES = 12
EXCLUDED = "Unattended-Upgrade::Package-Blacklist"


def facts(names: list[str]) -> dict[str, Any]:
    """Everything that a judgement needs; `names` are packages whose offers are asked for."""
    if not kernel_check.has_driver():
        return {"driver": "", "state": "there is no driver that deeprig looks after"}
    packages = snapshot.moving()
    return {
        "driver": driver.driver_version(),
        "state": driver.state(),
        "in_use": driver.in_use(),
        "cards": [card.name for card in driver.cards()],
        "plan": driver.plan(),
        "loaded": loaded(),
        "modules": modules(),
        "libraries": libraries.all_of_them(),
        "packages": packages,
        "holds": holds(),
        "system": system(),
        "offers": offers(names),
        "index": index.facts(driver.plan()),
        "waiting": [fix._asdict() for fix in held_updates.waiting_fixes()],
        "moves": [move._asdict() for move in history.moves(packages)[-MOST_MOVES:]],
        "move": state.load()
        | {"active": active(), "booted_since": state.booted_since(state.load())},
        "way_back": way_back(),
        "now": time.time(),
    }


def system() -> str:
    """ubuntu-24.04, as the tables call it."""
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', '')}"


def offers(names: list[str]) -> dict[str, Any]:
    """Package -> the versions that apt could take, newest first."""
    versions: dict[str, Any] = {}
    for line in said("apt-cache", "madison", *names).splitlines() if names else []:
        name, version, _ = (word.strip() for word in line.split("|", 2))
        versions.setdefault(name, [])
        if version not in versions[name]:
            versions[name].append(version)
    return versions


def loaded() -> dict[str, Any]:
    """Version and flavour of the module that runs, empty where none does."""
    version = driver.LOADED.read_text().strip() if driver.LOADED.exists() else ""
    said_of_itself = RUNNING.read_text() if RUNNING.exists() else ""
    flavour = "open" if "Open Kernel Module" in said_of_itself else "proprietary"
    return {"version": version, "flavour": flavour if said_of_itself else ""}


def modules() -> dict[str, Any]:
    """Kernel -> version of the module on disk, for the running kernel and the next boot's."""
    name = driver.plan()["module"]
    running, coming = said("uname", "-r"), Loader().next.kernel
    kernels = driver.kernels()
    versions = {
        kernel: said("modinfo", "-k", kernel, "-F", "version", name)
        for kernel in dict.fromkeys([running, coming])
        if kernel and (kernel in kernels or Path("/lib/modules", kernel).exists())
    }
    return {"running": running, "next": coming, "versions": versions}


def holds() -> dict[str, Any]:
    """Held, and what should be and is not; what updates may move."""
    ours, held = driver.driver_set(), simulate.held()
    left_alone = set(said("apt-config", "dump", "--format", "%v%n", EXCLUDED).split())
    entries = dict(zip(ours, re.findall(r'"(.+)"', hold.left_alone(ours)), strict=True))
    return {
        "held": sorted(held & set(ours)),
        "loose": [name for name in ours if name not in held],
        "needless": sorted(n for n in held - set(ours) if driver.is_of_a_driver(n)),
        "not_excluded": [name for name, entry in entries.items() if entry not in left_alone],
    }


def way_back() -> dict[str, Any]:
    """What `rollback` would bring back; empty where there is nothing."""
    before = snapshot.load()
    if before is None:
        return {}
    folder = debs.DEBS / before["version"]
    lacking = [n for n, v in before["packages"].items() if not debs.kept(folder, n, v)]
    return {"version": before["version"], "when": before["when"], "lacking": lacking}


def active() -> bool:
    unit = "deeprig-driver-move.service"
    return bool(said("systemctl", "is-active", unit))
