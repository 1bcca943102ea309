"""What needs a person: full or missing file systems, failed units, a reboot that is owed."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from deeprig_box.lib import bounded

FULL_PERCENT = 90
# A disk that hovers around the mark is one finding, not one every quarter of an hour.
EMPTIED_PERCENT = 87
REBOOT_DAYS = 7
BOOT_GUARD = Path("/var/lib/deeprig/boot-guard.json")
DAY = 24 * 3600
FILE_SYSTEMS = {
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "bcachefs",
    "vfat",
    "overlay",
}
# Memory that the system and the frameworks fill and empty as they like.
NOT_WATCHED = ("/run", "/dev", "/proc", "/sys", "/var/lib/docker", "/var/lib/containers")


class CannotTell(Exception):
    """What was found before stays as it is: the one to be asked does not answer now."""


class Finding(NamedTuple):
    """`key` stays the same as long as it is the same trouble; `subject` fits in a title."""

    key: str
    subject: str
    text: str
    priority: str


def output(*argv: str) -> str:
    return bounded.run(argv).out


def mounts(table: str) -> dict[str, str]:
    """Mount point to device of all that can fill up, each device once; `table` is as in /proc."""
    devices: dict[str, str] = {}
    for line in table.splitlines():
        device, place, kind, options, *_ = line.split(" ")
        place = place.encode().decode("unicode_escape")
        inside = any(place == top or place.startswith(f"{top}/") for top in NOT_WATCHED)
        if (kind in FILE_SYSTEMS or kind == "tmpfs") and not inside:
            devices.pop(place, None)  # what is mounted on top hides what was there
            if "ro" not in options.split(","):
                devices[place] = device
    return devices


def full(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    findings, seen = [], set()
    for place in sorted(mounts(Path("/proc/1/mounts").read_text()), key=len):
        try:
            device, usage = Path(place).stat().st_dev, os.statvfs(place)
        except OSError:
            continue  # it was unmounted meanwhile
        if device not in seen:
            seen.add(device)
            findings += shortage(place, usage, before)
    return findings


def shortage(place: str, usage: Any, before: set[str]) -> list[Finding]:
    """Where a file system runs out of space, or of room for names."""
    findings = []
    used = usage.f_blocks - usage.f_bfree
    space = 100 * used / ((used + usage.f_bavail) or 1)
    names = 100 * (usage.f_files - usage.f_ffree) / (usage.f_files or 1)
    left = usage.f_bavail * usage.f_frsize / 1e6
    left_over = f"{left / 1000:.1f} GB" if left >= 1000 else f"{left:.0f} MB"
    for key, percent, subject, text in (
        (f"full:{place}", space, f"{place} is nearly full", f"of its space, {left_over} left"),
        (f"full:files:{place}", names, f"{place} has too many files", "of its inodes"),
    ):
        if percent > (EMPTIED_PERCENT if key in before else FULL_PERCENT):
            who = f"`sudo du -xh --max-depth=2 {place} | sort -h | tail` shows who."
            sentence = f"{place} has used {percent:.0f}% {text}; {who}"
            findings.append(Finding(key, subject, sentence, "high"))
    return findings


def failed_units(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    lines = output("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
    return [
        Finding(f"unit:{u}", f"unit {u} has failed", f"`systemctl status {u}` says why.", "high")
        for u in (line.split()[0] for line in lines if line.strip())
    ]


def missing_mounts(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    mounted = {line.split(" ")[1] for line in Path("/proc/1/mounts").read_text().splitlines()}
    expected = places(Path("/etc/fstab").read_text() if Path("/etc/fstab").exists() else "")
    for unit in Path("/etc/systemd/system").glob("*.wants/*.mount"):
        lines = unit.read_text().splitlines() if unit.exists() else []
        expected += [line.partition("=")[2].strip() for line in lines if line.startswith("Where=")]
    return [
        Finding(
            f"mount:{place}",
            f"{place} is not mounted",
            f"`systemctl status {place}` says why; what is written there now is not on its disk.",
            "urgent",
        )
        for place in sorted(set(expected) - mounted)
    ]


def places(fstab: str) -> list[str]:
    """Where fstab has something mounted at every boot."""
    rows = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    return [
        row[1]
        for row in rows
        if len(row) > 3 and row[1].startswith("/") and "noauto" not in row[3].split(",")
    ]


def waiting_reboot(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if not Path("/run/reboot-required").exists():
        memory.pop("reboot", None)
        return []
    if memory.get("reboot", {}).get("boot") != boot:
        memory["reboot"] = {"boot": boot, "since": now}
    days = (now - memory["reboot"]["since"]) / DAY
    if days < REBOOT_DAYS:
        return []
    text = f"Updates have waited for a reboot for {days:.0f} days; until then the old ones run."
    return [Finding("reboot:", "updates wait for a reboot", text, "default")]


def kept_kernels(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    """What the boot guard says of the next boot, for as long as it does."""
    sentences = json.loads(BOOT_GUARD.read_text())["said"] if BOOT_GUARD.exists() else []
    if not sentences:
        return []
    text = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)
    return [Finding("boot:", "the next boot needs a look", text, "high")]
