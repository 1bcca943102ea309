"""What a VM writes on its serial line, and what can be read from it."""

import re
from collections.abc import Iterable
from pathlib import Path

# Colours, cursor movements and the like.
CONTROLS = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>c78])|[\x00-\x08\x0b-\x1f\x7f]")
# Where a boot stays for ever unless somebody types, at a console that nobody sits at. A kernel
# that panics and starts again by itself does not get to that line.
DEAD_ENDS = {
    "(initramfs) ": "it stopped in the initramfs",
    "grub rescue> ": "GRUB found no system",
    "grub> ": "GRUB has nothing to boot",
    "Shell> ": "the firmware found nothing to boot",
    "You are in emergency mode": "it stopped in emergency mode",
    "Press Enter for maintenance": "it stopped in emergency mode",
    "(or press Control-D to continue): ": "it stopped in emergency mode",
    "---[ end Kernel panic": "its kernel panicked",
}


def last(log: Path, signs: Iterable[str]) -> int:
    """Where in the log the last of the signs stands; 0 where none does."""
    written = log.read_bytes() if log.exists() else b""
    return max(0, *(written.rfind(sign.encode()) for sign in signs))


def text(log: Path, since: int = 0) -> str:
    """What was written, as a person would see it."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(since)
        written = file.read().decode(errors="replace")
    return CONTROLS.sub("", written.replace("\r\n", "\n").replace("\r", "\n"))


def last_lines(log: Path, count: int = 20, since: int = 0) -> list[str]:
    """The last lines that say anything."""
    return [line for line in text(log, since).splitlines() if line.strip()][-count:]


def dead_end(log: Path, since: int = 0) -> str:
    """Why the boot will never come up, or nothing."""
    seen = text(log, since)
    return next((why for sign, why in DEAD_ENDS.items() if sign in seen), "")
