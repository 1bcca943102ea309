"""Held is not forgotten: newer versions of the driver that wait for a person, and since when.

apt runs it after each update of its lists, so that the days are counted, and a login says what is
overdue, also where no word is sent.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from deeprig_box.lib import bounded, files
from deeprig_box.lib.errors import BoxError

SEEN = Path("/var/lib/deeprig/driver-waiting.json")
MOTD = Path("/var/lib/deeprig/driver-waiting.motd")
REMEDY = "`deeprig driver upgrade`, from where you deploy, moves it"
DAY = 24 * 3600
OVERDUE_DAYS = 30
HELD = re.compile(r"nvidia|^libcuda|^libnv|^firmware-nvidia|^cuda-drivers")
# Modules that came ready made hold the kernel back too.
PLAN = Path("/etc/deeprig/driver.json")
# `apt-cache policy`: a version, then where it can be had from, further in.
VERSION = re.compile(r"^ (?:\*\*\*|   ) (\S+) -?\d+$")
PLACE = re.compile(r"^ {8,} *-?\d+ (\S+) (\S*)")
NVIDIA = Path("/etc/deeprig/repositories/nvidia.json")


class Fix(NamedTuple):
    """A newer version of a package that is held; `since` is when it was first seen."""

    name: str
    installed: str
    version: str
    since: float


def output(*argv: str) -> str:
    """What a command prints, in the one language that is read here."""
    return bounded.run(argv, seconds=120).out


def waiting_fixes(now: float | None = None) -> list[Fix]:
    """What waits now; when each was first seen is remembered in SEEN, where root asks."""
    try:
        first_seen = json.loads(SEEN.read_text())
    except (OSError, ValueError):
        first_seen = {}
    before = dict(first_seen)
    fixes = waiting(first_seen, time.time() if now is None else now, output)
    if first_seen != before and os.geteuid() == 0:
        files.write(SEEN, json.dumps(first_seen, indent=1))
    return fixes


def waiting(first_seen: dict[str, Any], now: float, output: Callable[..., str]) -> list[Fix]:
    """The same, with `first_seen` kept by the caller."""
    kernels = kernel_metapackages()
    every = output("apt-mark", "showhold").split()
    held = [name for name in every if HELD.search(name) or name in kernels]
    shown = output("apt-cache", "policy", *held) if held else ""  # at once: each takes apt a second
    fixes = {name: newest_fix(policy) for name, policy in by_package(shown).items() if name in held}
    newest = {name: fix for name, fix in fixes.items() if fix}
    for gone in first_seen.keys() - newest.keys():
        del first_seen[gone]
    return [
        Fix(name, installed, version, first_seen.setdefault(name, now))
        for name, (installed, version) in sorted(newest.items())
    ]


def kernel_metapackages() -> list[str]:
    """Those that are held together with the driver."""
    try:
        return list(json.loads(PLAN.read_text())["kernel_metapackages"])
    except (OSError, ValueError, KeyError):
        return []


def by_package(policies: str) -> dict[str, str]:
    """What `apt-cache policy` says of several packages, by name."""
    parts = re.split(r"^(\S+):$", policies, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def overdue(now: float | None = None) -> list[str]:
    """Such as `nvidia-driver 550.1 (550.2 for 40 days)`."""
    moment = time.time() if now is None else now
    return told(waiting_fixes(moment), moment)


def note() -> None:
    """Count the days, and have a login say what is overdue."""
    SEEN.parent.mkdir(parents=True, exist_ok=True)
    waits = overdue()
    if waits:
        which = waits[0] if len(waits) == 1 else f"{len(waits)} packages, such as {waits[0]}"
        files.write(MOTD, f"deeprig: the driver lacks security fixes: {which}; {REMEDY}.\n")
    else:
        MOTD.unlink(missing_ok=True)


def told(fixes: list[Fix], now: float) -> list[str]:
    """Those that have waited too long, in words."""
    return [
        f"{fix.name} {fix.installed} ({fix.version} for {(now - fix.since) / DAY:.0f} days)"
        for fix in fixes
        if (now - fix.since) / DAY > OVERDUE_DAYS
    ]


def newest_fix(policy: str) -> tuple[str, str] | None:
    """The installed version and the newest one that fixes it; None without one.

    NVIDIA's repository has no part of its own for security: there each newer build of the same
    branch may be a fix.
    """
    installed = re.search(r"^  Installed: (\S+)$", policy, re.MULTILINE)
    if installed is None:
        return None
    version = ""
    for line in policy.splitlines():
        if start := VERSION.match(line):
            version = start[1]
        elif version and (place := PLACE.match(line)):
            branch = version.partition(".")[0] == installed[1].partition(".")[0]
            fixes = place[2].partition("/")[0].endswith("-security")
            if (fixes or (is_nvidias(place[1]) and branch)) and newer(version, installed[1]):
                return installed[1], version
    return None


def is_nvidias(url: str) -> bool:
    """Whether an address is of NVIDIA's repository, or of the mirror that stands for it."""
    try:
        uri = str(json.loads(NVIDIA.read_text())["uri"])
    except (OSError, ValueError, KeyError):
        return False
    return url.rstrip("/").startswith(uri.rstrip("/"))


def newer(version: str, installed: str) -> bool:
    command = ["dpkg", "--compare-versions", version, "gt", installed]
    return bounded.run(command).code == 0


def main() -> None:
    try:
        note()
    except (OSError, subprocess.SubprocessError) as error:
        why = f"deeprig cannot tell which fixes of the driver wait: {error}"
        raise BoxError(why) from None
