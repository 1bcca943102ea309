"""What the boot guard has seen of each kernel: its module proved, booted with it, or failed."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from deeprig_box.lib import files

RECORD = Path("/var/lib/deeprig/boot-guard.json")
MOTD = Path("/var/lib/deeprig/boot-guard.motd")  # what /etc/update-motd.d/60-deeprig shows
LOCK = Path("/run/deeprig-boot-guard.lock")


def load() -> dict[str, Any]:
    """`kernels` is kernel -> {module, proved, booted, failed}; `said` is for people; `unlisted`
    are kernels that GRUB's menu leaves out; `unbuilt` is kernel -> the driver that did not build.
    """
    fresh = {"kernels": {}, "said": [], "next": "", "unlisted": [], "unbuilt": {}}
    try:
        record = json.loads(RECORD.read_text())
    except (OSError, ValueError):
        return fresh
    return fresh | record if isinstance(record, dict) else fresh


def save(record: dict[str, Any]) -> None:
    """Nothing is written where nothing changed."""
    lines = "".join(f"deeprig: {line}.\n" for line in record["said"])
    for file, text in ((RECORD, json.dumps(record, indent=1) + "\n"), (MOTD, lines)):
        if not file.exists() or file.read_text() != text:
            files.write(file, text)


def _row(record: dict[str, Any], kernel: str, module: str) -> dict[str, Any]:
    """What is known of this kernel with this module; another one begins anew."""
    row: dict[str, Any] = record["kernels"].setdefault(kernel, {})
    if row.get("module") != module:
        row.clear()
        row["module"] = module
    return row


def note_proved(record: dict[str, Any], kernel: str, module: str) -> None:
    _row(record, kernel, module).setdefault("proved", today())


def was_proved(record: dict[str, Any], kernel: str) -> bool:
    return "proved" in record["kernels"].get(kernel, {})


def note_boot(record: dict[str, Any], kernel: str, module: str, trouble: str) -> None:
    """Whether the module loaded in this kernel; a good boot makes up for a bad one."""
    row = _row(record, kernel, module)
    row.pop("failed", None)
    row["failed" if trouble else "booted"] = trouble or today()


def failed(record: dict[str, Any], kernel: str, module: str) -> str:
    """Why this kernel is not to be booted though its module looks right; empty if it may be."""
    row = record["kernels"].get(kernel, {})
    return row.get("failed", "") if row.get("module") == module else ""


def today() -> str:
    return time.strftime("%Y-%m-%d")


def alone() -> contextlib.AbstractContextManager[None]:
    """One at a time: kernel hooks, apt and a deploy may all look at once."""
    return files.alone(LOCK)
