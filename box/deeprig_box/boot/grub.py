"""GRUB as it stands: what it boots with us and without us, and how it stays on a kernel."""

import os
import re
import shutil
import sys
from pathlib import Path

from deeprig_box.boot import grub_menu
from deeprig_box.lib import bounded, files
from deeprig_box.nvidia import driver

MENU = Path("/boot/grub/grub.cfg")
ENVIRONMENT = Path("/boot/grub/grubenv")
# Read after the files that begin with a number, whose GRUB_DEFAULT would count otherwise.
PIN = Path("/etc/default/grub.d/deeprig-guard.cfg")
HEADER = "Written by deeprig (box/deeprig_box/boot/grub.py): it comes and goes."
WHY = "The newest kernel has no proved driver module; this file goes when it has."
# Many disks and systems take a minute or two; on a root of ZFS it may hang in the kernel for ever,
# https://github.com/openzfs/zfs/issues/17337.
SECONDS_FOR_A_MENU = 600
# The settings as update-grub reads them, but for our file.
WITHOUT_US = (
    "for f in /etc/default/grub /etc/default/grub.d/*.cfg; do "
    f'[ "$f" = {PIN} ] || [ ! -e "$f" ] || . "$f"; done >/dev/null 2>&1; '
    'printf %s "${GRUB_DEFAULT:-0}"'
)


# What the firmware keeps of this boot: the entry that it took, and what the loader calls itself.
EFI = Path("/sys/firmware/efi/efivars")
GLOBAL, LOADER = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# Loaders that take a kernel by themselves and read no GRUB_DEFAULT, by their file or its folder.
OTHERS = re.compile(r"refind|systemd-boot|zbm|zfsbootmenu|limine", re.IGNORECASE)


def has_grub() -> bool:
    return MENU.exists() and shutil.which("update-grub") is not None


def other() -> str:
    """The boot loader that this boot came by, where it is not GRUB, whatever lies in /boot/grub;
    empty where it is GRUB, or where the firmware does not tell.
    """
    itself = _variable(f"LoaderInfo-{LOADER}").decode("utf-16-le", "replace").strip("\0")
    if itself:
        return "" if itself.startswith("GRUB") else itself
    taken = _variable(f"BootCurrent-{GLOBAL}")
    if len(taken) != 2:
        return ""
    entry = _variable(f"Boot{int.from_bytes(taken, 'little'):04X}-{GLOBAL}")
    # Attributes, a length, a name and a path, all in UTF-16 but for the first six bytes.
    match = OTHERS.search(entry[6:].decode("utf-16-le", "replace"))
    return match[0] if match else ""


def _variable(name: str) -> bytes:
    """Its value, after four bytes of attributes; empty where there is none."""
    try:
        return (EFI / name).read_bytes()[4:]
    except OSError:
        return b""


class Loader:
    """One look at it. `next` is what the next boot takes, `set` every one after that, `usual` what
    it would be without us; `pin` is the name of the entry that we keep it on, or empty.
    """

    def __init__(self) -> None:
        text = _read(MENU) if has_grub() else ""
        environment = grub_menu.environment(_read(ENVIRONMENT))
        self.entries = grub_menu.read(text)
        ours = re.search(r'^GRUB_DEFAULT="(.*)"$', _read(PIN), re.MULTILINE)
        self.pin = ours[1] if ours else ""
        usual = grub_menu.resolved(driver.said("sh", "-c", WITHOUT_US), environment)
        self.usual = self._entry(usual)
        self.set = self._entry(grub_menu.resolved(grub_menu.set_default(text), environment))
        self.next = self._entry(grub_menu.next_default(text, environment))

    def _entry(self, default: str) -> grub_menu.Entry:
        newest = (driver.kernels() or [""])[-1]
        unread = grub_menu.Entry(newest, "", newest, "", [])  # another boot loader, or none
        return grub_menu.chosen(self.entries, default) or unread

    def address(self, kernel: str) -> str:
        return grub_menu.address(self.entries, kernel)

    def kernel_at(self, pin: str) -> str:
        """The kernel that a pin keeps; empty where its entry is gone."""
        entry = grub_menu.chosen(self.entries, pin) if pin else None
        return entry.kernel if entry and entry.id == pin.rpartition(">")[2] else ""

    def obeys(self, pin: str) -> bool:
        """Whether grub.cfg boots what it would be told with this pin, or without one."""
        kernel = self.kernel_at(pin) if pin else self.usual.kernel
        return not has_grub() or (pin == self.pin and self.set.kernel == kernel)


def stay_on(loader: Loader, pin: str) -> None:
    """Have GRUB boot the entry of that name, or its own choice where it is empty."""
    if not loader.obeys(pin):
        renew(pin)


def renew(pin: str) -> None:
    """GRUB's menu as the kernels are now, with this pin or none."""
    write_pin(pin)
    words = bounded.in_the_boxs_language()
    made = bounded.run(["update-grub"], seconds=SECONDS_FOR_A_MENU, environment=words)
    if made.code:
        print(f"deeprig: update-grub failed: {made.last_words}", file=sys.stderr, flush=True)
    os.sync()  # a power cut in the next seconds would bring the old menu back


def write_pin(pin: str) -> None:
    """Only the setting; it counts from the next update-grub on."""
    if pin:
        files.write(PIN, f'# {HEADER}\n# {WHY}\nGRUB_DEFAULT="{pin}"\n')
    else:
        PIN.unlink(missing_ok=True)


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
