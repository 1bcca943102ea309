"""Have graphics cards change hands without a boot, where nothing uses them; root runs it.

`state` prints "settled", "due" where a card would change hands now, or who uses those that wait.
`move` has them do it: those in /etc/deeprig/passthrough.list go to vfio-pci, and those that went
and stand there no more go back to drivers of their own. A card in use is named, with who uses it,
and left for the next boot. A driver may never let go of a card: then this gives up after 30 s, with
exit status 1 and one line on stderr that says what is so.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deeprig_box.boot.passthrough import DEVICES, GIVEN, TRIED, listed, taken
from deeprig_box.lib import bounded, place, proc
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.standing import LATER, OK, OWED, Standing

SECONDS = 30
# A deploy with hand_over="when-idle" leaves it.
WHEN_IDLE = Path("/etc/deeprig/passthrough-when-idle")
BIND = Path(place.script("passthrough-bind"))
GRAPHICS = "0x03"  # of PCI's classes
DEV = Path("/dev")
KEEPS_AWAKE = "nvidia-persiste"  # a name of 15 characters is what the kernel keeps; see release()
NVIDIA_NODES = 195  # the major number of /dev/nvidia0 and the others, see the kernel's devices.txt


class Stuck(BoxError):
    """A card that did not go."""


def waiting() -> dict[str, list[str]]:
    """The functions that are not where they belong, by card: a card's change hands together."""
    given = listed(GIVEN)
    to = [address for address in given if not taken(address)]
    back = [address for address in listed(TRIED) if address not in given and taken(address)]
    slots: dict[str, list[str]] = {}
    for address in (*to, *back):
        slots.setdefault(address.partition(".")[0], []).append(address)
    return {slot: own for slot, own in slots.items() if any(map(is_card, own))}


def is_card(address: str) -> bool:
    """Whether this function shows pictures or computes; not the one that shows the console."""
    device = DEVICES / address
    return _read(device / "class").startswith(GRAPHICS) and _read(device / "boot_vga") != "1"


def users(address: str, but: str) -> list[str]:
    """The processes that have a device node of this function open, but for those of one name."""
    nodes = set(numbers(address))
    programs = []
    for process in proc.every():
        name = proc.name(int(process.name))
        if name != but and nodes & set(_open_nodes(int(process.name))):
            programs.append(f"{name or 'a program'} (process {process.name})")
    return programs


def numbers(address: str) -> Iterator[tuple[int, int]]:
    """Major and minor numbers of every device node of a function."""
    for folder, _, files in os.walk(DEVICES / address):  # follows no link, and so leaves no device
        if "dev" in files:
            major, minor = _read(Path(folder, "dev")).split(":")
            yield int(major), int(minor)
    facts = _read(proc.PROC / f"driver/nvidia/gpus/{address}/information")
    if of_nvidia := re.search(r"^Device Minor:\s*(\d+)$", facts, re.MULTILINE):
        yield NVIDIA_NODES, int(of_nvidia[1])
    group = DEVICES / address / "iommu_group"
    node = DEV / "vfio" / group.resolve().name
    if taken(address) and node.exists():
        number = node.stat().st_rdev
        yield os.major(number), os.minor(number)


def _open_nodes(pid: int) -> Iterator[tuple[int, int]]:
    for link in proc.open_files(pid):
        try:
            number = link.stat().st_rdev
        except OSError:
            continue  # closed meanwhile; what is behind it in the list may be open
        yield os.major(number), os.minor(number)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def move(own: list[str]) -> None:
    """Hand the functions of one card over; what goes is given by BIND, as at a boot.

    Raises Stuck where a driver does not let go in time, or one is not where it was to go.
    """
    given = listed(GIVEN)
    going = [address for address in own if address in given]
    for address in own:
        driver = DEVICES / address / "driver"
        if driver.exists():
            _tell(driver / "unbind", address, f"{driver.resolve().name} to let go of {address}")
    if going:
        _in_time(f"vfio-pci to take {going[0]}", BIND)
    for address in [address for address in own if address not in given]:
        (DEVICES / address / "driver_override").write_text("\n")
        (DEVICES / address / "uevent").write_text("add")  # udev loads the driver that it asks for
        _in_time("udev", "udevadm", "settle")
        _tell(DEVICES.parent / "drivers_probe", address, f"a driver of its own to take {address}")
    for address in own:
        if taken(address) != (address in given):
            raise Stuck(f"{address} did not go where it was to go; the next boot does it")
    with TRIED.open("a") as tried:  # so that the next boot takes them back as its own
        tried.writelines(f"{address}\n" for address in going if address not in listed(TRIED))


def _tell(file: Path, address: str, what: str) -> None:
    _in_time(what, "sh", "-c", 'echo "$1" > "$2"', "sh", address, file)


def _in_time(what: str, *command: str | Path) -> None:
    """By a process of its own: one that the kernel keeps cannot be ended, not even by force."""
    if bounded.run(command, seconds=SECONDS, shown=True).code == bounded.TIMED_OUT:
        raise Stuck(
            f"{SECONDS} s were not enough for {what}; nothing else is moved, the next boot does "
            "the rest. If the box hangs at its reboot, only its power switch helps"
        )


def release(address: str) -> None:
    """Have NVIDIA's own daemon, which keeps cards awake, close this one."""
    held = (DEVICES / address / "driver").resolve().name == "nvidia"
    if held and shutil.which("nvidia-smi"):
        quiet = ["nvidia-smi", "-i", address, "--persistence-mode=0"]
        bounded.run(quiet, seconds=SECONDS)


def state() -> str:
    cards = waiting()
    used = [text for slot, own in cards.items() if (text := in_use(slot, own, but=KEEPS_AWAKE))]
    if len(used) < len(cards):
        return "due"
    return " ".join(used) or "settled"


def in_use(slot: str, functions: list[str], but: str = "") -> str:
    """A sentence on who uses a card; empty where nobody does."""
    names = sorted({user for address in functions for user in users(address, but)})
    return f"{slot} is used by {', '.join(names)}; it changes hands at a boot." if names else ""


def check(_: list[str]) -> Standing:
    if not WHEN_IDLE.exists():
        return Standing(OK, "")  # they change hands at a boot
    standing = state()
    known = {"settled": OK, "due": OWED}
    return Standing(known[standing]) if standing in known else Standing(LATER, standing)


def apply(_: list[str]) -> None:
    try:
        move_all()
    except (OSError, subprocess.SubprocessError) as error:
        raise BoxError(f"A card did not change hands: {error}") from None


def main() -> None:
    match sys.argv[1:]:
        case ["state"]:
            print(state())
        case ["move"]:
            apply([])
        case _:
            sys.exit("usage: passthrough-now state | move")


def move_all() -> None:
    for slot, functions in waiting().items():
        for address in functions:
            release(address)
        if sentence := in_use(slot, functions):
            print(sentence)
            continue
        move(functions)
        print(f"{slot} has changed hands.")
