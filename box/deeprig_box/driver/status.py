"""How the driver stands, as facts: loaded, on disk, installed, planned, held, offered, waiting.

Reads only.
"""

import platform
import re
import time
from pathlib import Path
from typing import Any

from deeprig_box.apt import history as driver_history
from deeprig_box.boot import kernel_check as boot_proof
from deeprig_box.boot.grub import Loader
from deeprig_box.driver import debs as driver_debs
from deeprig_box.driver import hold as driver_hold
from deeprig_box.driver import simulate as driver_apt
from deeprig_box.driver import snapshot as driver_snapshot
from deeprig_box.driver import state as record
from deeprig_box.nvidia import driver as driver_proof
from deeprig_box.nvidia import held_updates as driver_waiting
from deeprig_box.nvidia import index as driver_index
from deeprig_box.nvidia import libraries as driver_libraries
from deeprig_box.nvidia.driver import said

RUNNING = Path("/proc/driver/nvidia/version")
MOST_MOVES = 12
EXCLUDED = "Unattended-Upgrade::Package-Blacklist"


def facts(names: list[str]) -> dict[str, Any]:
    """Everything that a judgement needs; `names` are packages whose offers are asked for."""
    if not boot_proof.has_driver():
        return {"driver": "", "state": "there is no driver that deeprig looks after"}
    packages = driver_snapshot.moving()
    return {
        "driver": driver_proof.driver_version(),
        "state": driver_proof.state(),
        "in_use": driver_proof.in_use(),
        "cards": [card.name for card in driver_proof.cards()],
        "plan": driver_proof.plan(),
        "loaded": loaded(),
        "modules": modules(),
        "libraries": driver_libraries.all_of_them(),
        "packages": packages,
        "holds": holds(),
        "system": system(),
        "offers": offers(names),
        "index": driver_index.facts(driver_proof.plan()),
        "waiting": [fix._asdict() for fix in driver_waiting.waiting_fixes()],
        "moves": [move._asdict() for move in driver_history.moves(packages)[-MOST_MOVES:]],
        "move": record.load()
        | {"active": active(), "booted_since": record.booted_since(record.load())},
        "way_back": way_back(),
        "now": time.time(),
    }


def system() -> str:
    """ubuntu-24.04, as the tables call it."""
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', '')}"


def offers(names: list[str]) -> dict[str, Any]:
    """Package -> the versions that apt could take, newest first."""
    found: dict[str, Any] = {}
    for line in said("apt-cache", "madison", *names).splitlines() if names else []:
        name, version, _ = (word.strip() for word in line.split("|", 2))
        found.setdefault(name, [])
        if version not in found[name]:
            found[name].append(version)
    return found


def loaded() -> dict[str, Any]:
    """Version and flavour of the module that runs, empty where none does."""
    version = driver_proof.LOADED.read_text().strip() if driver_proof.LOADED.exists() else ""
    said_of_itself = RUNNING.read_text() if RUNNING.exists() else ""
    flavour = "open" if "Open Kernel Module" in said_of_itself else "proprietary"
    return {"version": version, "flavour": flavour if said_of_itself else ""}


def modules() -> dict[str, Any]:
    """Kernel -> version of the module on disk, for the running kernel and the next boot's."""
    name = driver_proof.plan()["module"]
    running, coming = said("uname", "-r"), Loader().next.kernel
    kernels = driver_proof.kernels()
    versions = {
        kernel: said("modinfo", "-k", kernel, "-F", "version", name)
        for kernel in dict.fromkeys([running, coming])
        if kernel and (kernel in kernels or Path("/lib/modules", kernel).exists())
    }
    return {"running": running, "next": coming, "versions": versions}


def holds() -> dict[str, Any]:
    """Held, and what should be and is not; what updates may move."""
    ours, held = driver_proof.driver_set(), driver_apt.held()
    left_alone = set(said("apt-config", "dump", "--format", "%v%n", EXCLUDED).split())
    wanted = dict(zip(ours, re.findall(r'"(.+)"', driver_hold.left_alone(ours)), strict=True))
    return {
        "held": sorted(held & set(ours)),
        "loose": [name for name in ours if name not in held],
        "needless": sorted(n for n in held - set(ours) if driver_proof.is_of_a_driver(n)),
        "not_excluded": [name for name, entry in wanted.items() if entry not in left_alone],
    }


def way_back() -> dict[str, Any]:
    """What `rollback` would bring back; empty where there is nothing."""
    snapshot = driver_snapshot.load()
    if snapshot is None:
        return {}
    folder = driver_debs.DEBS / snapshot["version"]
    lacking = [n for n, v in snapshot["packages"].items() if not driver_debs.kept(folder, n, v)]
    return {"version": snapshot["version"], "when": snapshot["when"], "lacking": lacking}


def active() -> bool:
    unit = "deeprig-driver-move.service"
    return bool(said("systemctl", "is-active", unit))
