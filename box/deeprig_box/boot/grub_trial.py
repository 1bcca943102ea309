"""GRUB's side of a trial: its mark, and a menu that replaces the old one only if it boots."""

import os
import shutil
import sys
from pathlib import Path

from deeprig_box.boot import grub_menu, snapshot
from deeprig_box.lib import bounded
from deeprig_box.lib.programs import run

ENVIRONMENT, MARK = Path("/boot/grub/grubenv"), "deeprig_trial"
# GRUB writes into a file's blocks in place, which these allow; it writes through no LVM or RAID.
WRITABLE = {"ext2", "fat", "xfs"}


def mark() -> str:
    """What GRUB knows: `armed`, `used` once that boot began, `back` once it took the old menu."""
    text = ENVIRONMENT.read_text(errors="replace") if ENVIRONMENT.exists() else ""
    return grub_menu.environment(text).get(MARK, "")


def set_mark(value: str) -> None:
    if value != mark():
        words = ("set", f"{MARK}={value}") if value else ("unset", MARK)
        run("grub-editenv", str(ENVIRONMENT), *words)


def why_not() -> str:
    """Why a boot that fails could not be taken back; empty if it can."""
    if not snapshot.MENU.exists() or not shutil.which("grub-editenv"):
        return "this box does not boot with GRUB"
    below = run("grub-probe", "--target=abstraction", "/boot/grub").split()
    system = run("grub-probe", "--target=fs", "/boot/grub")
    if below or system not in WRITABLE:
        return f"GRUB cannot write its mark on /boot, which is on {' '.join(below) or system}"
    if snapshot.LAST_MENU.exists():
        return unbootable(snapshot.LAST_MENU.read_text(errors="replace"))
    return "GRUB's menu of the last good boot is not there"


def renew() -> None:
    """GRUB's menu, in the place of the old one only if its default entry can be booted."""
    draft = snapshot.MENU.with_name("grub.cfg.deeprig")
    run("grub-mkconfig", "-o", str(draft), environment=bounded.in_the_boxs_language())
    try:
        run("grub-script-check", str(draft))
        if why := unbootable(draft.read_text(errors="replace")):
            snapshot.restore(snapshot.PARAMETERS)
            sys.exit(f"GRUB's settings are as they were: {why}.")
        snapshot.MENU.with_name("grub.cfg").write_bytes(draft.read_bytes())
        os.sync()
    finally:
        draft.unlink(missing_ok=True)


def unbootable(text: str) -> str:
    grubenv = ENVIRONMENT.read_text(errors="replace") if ENVIRONMENT.exists() else ""
    default = grub_menu.next_default(text, grub_menu.environment(grubenv))
    entry = grub_menu.chosen(grub_menu.read(text), default)
    if entry is None or not entry.kernel:
        return "the new one would boot no kernel of this system"
    here = [Path("/boot", Path(file).name) for file in (f"vmlinuz-{entry.kernel}", entry.initrd)]
    gone = [str(file) for file in here if file.name and not file.is_file()]
    return f"the new one would boot {gone[0]}, which is not there" if gone else ""
