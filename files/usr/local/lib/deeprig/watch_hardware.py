"""What needs a person in the hardware and its driver: failing disks, lost GPUs, held fixes.

Written by deeprig (files/usr/local/lib/deeprig/watch_hardware.py): change it there.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watch_findings import CannotTell, Finding, output

NOT_A_DISK = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd")
DISPLAY_CLASS, NVIDIA = "0x03", "0x10de"
FORGET = "sudo /usr/local/lib/deeprig/watch --forget-gpus"
DAY = 24 * 3600
OVERDUE_DAYS = 30
DRIVER = re.compile(r"nvidia|^libcuda|^libnv|^firmware-nvidia")
# `apt-cache policy`: a version, then where it can be had from, further in.
VERSION = re.compile(r"^ (?:\*\*\*|   ) (\S+) -?\d+$")
SECURITY = re.compile(r"^ {8,} *-?\d+ \S+ \S*-security(/\S+)? ")


def failing_disks(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    if not shutil.which("smartctl"):
        return []
    names = [path.name for path in Path("/sys/block").iterdir()]
    disks = [n for n in sorted(names) if not n.startswith(NOT_A_DISK) and Path("/dev", n).exists()]
    answers = {n: output("smartctl", "-H", "-i", "-j", "-n", "standby", f"/dev/{n}") for n in disks}
    if before and any("STANDBY" in answer or "SLEEP" in answer for answer in answers.values()):
        raise CannotTell  # it may be the failing one that sleeps
    return [finding for name, answer in answers.items() for finding in smart(name, answer)]


def smart(name: str, answer: str) -> list[Finding]:
    """What `smartctl -j` says of one disk; a disk that is asleep or has no SMART says nothing."""
    try:
        said = json.loads(answer)
    except ValueError:
        return []
    if said.get("smart_status", {}).get("passed", True):
        return []
    serial, model = said.get("serial_number", name), said.get("model_name", "a disk")
    text = (
        f"{model} ({serial}) at /dev/{name} says by SMART that it is failing: save what is on it."
    )
    return [Finding(f"smart:{serial}", f"disk /dev/{name} is failing", text, "urgent")]


def lost_gpus(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    present: Counter[str] = Counter()
    for path in Path("/sys/bus/pci/devices").glob("*"):
        vendor, kind, device = (
            (path / n).read_text().strip() for n in ("vendor", "class", "device")
        )
        if vendor == NVIDIA and kind.startswith(DISPLAY_CLASS):
            present[f"{vendor[2:]}:{device[2:]}"] += 1
    known = memory.setdefault("gpus", {})
    known.update({gpu: max(n, known.get(gpu, 0)) for gpu, n in present.items()})
    words = f"%d were here and %d are left. If you took it out yourself: {FORGET}"
    found = [
        Finding(f"gpu:{gpu}", f"a GPU {gpu} is gone", words % (n, present[gpu]), "urgent")
        for gpu, n in known.items()
        if present[gpu] < n
    ]
    sign = r"Xid.*: 79,|fallen off the bus"
    said = output("journalctl", "-q", "-k", "-b", "-o", "cat", "-n", "1", f"--grep={sign}").strip()
    if said:
        text = f"The kernel says: {said[:200]}. A power cycle may bring it back."
        found.append(Finding("gpu:bus", "a GPU has fallen off the bus", text, "urgent"))
    return found


def old_driver(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    waits = overdue(memory.setdefault("fixes", {}), now, output)
    if not waits:
        return []
    text = "Held back, while the security archive has newer: " + ", ".join(waits)
    return [Finding("driver:", "the driver lacks security fixes", text, "default")]


def overdue(first_seen: dict[str, Any], now: float, output: Callable[..., str]) -> list[str]:
    """Such as `nvidia-driver 550.1 (550.2 for 40 days)`; `first_seen` remembers since when."""
    held = [name for name in output("apt-mark", "showhold").split() if DRIVER.search(name)]
    fixes = {name: newest_fix(output("apt-cache", "policy", name)) for name in held}
    waiting = {name: fix for name, fix in fixes.items() if fix}
    for gone in first_seen.keys() - waiting.keys():
        del first_seen[gone]
    found = []
    for name, (installed, fix) in sorted(waiting.items()):
        days = (now - first_seen.setdefault(name, now)) / DAY
        if days > OVERDUE_DAYS:
            found.append(f"{name} {installed} ({fix} for {days:.0f} days)")
    return found


def newest_fix(policy: str) -> tuple[str, str] | None:
    """The installed version and the first newer one of the security archive; None without one."""
    installed = re.search(r"^  Installed: (\S+)$", policy, re.MULTILINE)
    if installed is None:
        return None
    version = ""
    for line in policy.splitlines():
        if start := VERSION.match(line):
            version = start[1]
        elif SECURITY.match(line) and version and newer(version, installed[1]):
            return installed[1], version
    return None


def newer(version: str, installed: str) -> bool:
    command = ["dpkg", "--compare-versions", version, "gt", installed]
    return subprocess.run(command, check=False).returncode == 0
