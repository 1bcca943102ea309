"""Where a move of the driver stands: every step is on disk before it is taken."""

import json
import time
from pathlib import Path
from typing import Any

from deeprig_box.lib import files

FOLDER = Path("/var/lib/deeprig/driver-move")
RECORD = FOLDER / "record.json"
UNDER_WAY = FOLDER / "under-way"  # while it is there, deeprig-driver-move.service goes on at boot
LOG = Path("/var/log/deeprig/driver-move.log")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ASKED, INSTALLING, REBOOTING = "asked", "installing", "rebooting"
GOING_BACK, REBOOTING_BACK = "going back", "rebooting back"
REBOOT_OWED = "reboot owed"  # installed and proved on disk; the next boot proves the rest
MOVED, BACK, SAME, REFUSED, STUCK = "moved", "back", "same", "refused", "stuck"
ENDS = (MOVED, BACK, SAME, REFUSED, STUCK)
FRESH = {
    "kind": "", "step": "", "before": "", "after": "", "why": "", "came": [], "force": False,
    "reboot": True, "boot_id": "", "log": 0, "began": 0.0, "stepped": 0.0, "verified": False,
}  # fmt: skip


def load() -> dict[str, Any]:
    """The last move, or a fresh record where there was none."""
    try:
        record: dict[str, Any] = json.loads(RECORD.read_text())
        return FRESH | record
    except (OSError, ValueError):
        return dict(FRESH)


def begin(kind: str, before: str, *, force: bool, reboot: bool, came: list[Any]) -> dict[str, Any]:
    """A new move; the log's lines from here on are its own. `came` is what to take out again."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    record = FRESH | {
        "kind": kind, "before": before, "force": force, "reboot": reboot, "came": came,
        "began": time.time(), "log": LOG.stat().st_size if LOG.exists() else 0,
    }  # fmt: skip
    note(record, ASKED)
    return record


def note(record: dict[str, Any], step: str, **known: object) -> None:
    """Keep what comes next; a power cut from here on finds it."""
    record |= {"step": step, "boot_id": boot_id(), "stepped": time.time(), **known}
    FOLDER.mkdir(parents=True, exist_ok=True)
    files.write(RECORD, json.dumps(record, indent=1) + "\n")
    if step in ENDS:
        UNDER_WAY.unlink(missing_ok=True)
    elif not UNDER_WAY.exists():
        files.write(UNDER_WAY, "")


def boot_id() -> str:
    return BOOT_ID.read_text().strip()


def booted_since(record: dict[str, Any]) -> bool:
    return bool(record["boot_id"]) and record["boot_id"] != boot_id()
