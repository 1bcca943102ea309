"""The guest that gets the given cards: its disk, its seed, its definition, and whether it runs.

state   one line: `ok ...` where all is as guest.json and guest.xml in /etc/deeprig say, else why
stand   make it so; where the cards come at the next boot, it is started by that boot
rest    it stays defined, and neither runs nor comes up by itself
"""

import hashlib
import json
import sys
import time
from pathlib import Path

from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.programs import run_long
from deeprig_box.lib.standing import OK, OWED, Standing
from deeprig_box.passthrough import guest_files

ASKED = Path("/etc/deeprig/guest.json")
DEFINITION = Path("/etc/deeprig/guest.xml")
GIVEN = Path("/etc/deeprig/passthrough.list")
DEFINED = Path("/var/lib/deeprig/guest-defined")
NETWORK = "default"
SECONDS_TO_STOP = 300  # as long as libvirt-guests waits at a shutdown
KINDS = {
    "kvm": ("kvm", "<cpu mode='host-passthrough' check='none'>"
                   "<maxphysaddr mode='passthrough'/></cpu>"),
    "tcg": ("qemu", "<cpu mode='maximum' check='none'/>"),
}  # fmt: skip


def virsh(*words: str) -> str:
    return run_long("virsh", "--quiet", "--connect", "qemu:///system", *words)


def said(*words: str) -> str:
    """What virsh prints, "" where it fails."""
    try:
        return virsh(*words).strip()
    except BoxError:
        return ""


def name() -> str:
    return str(json.loads(ASKED.read_text())["name"])


def definition() -> str:
    kind, processor = KINDS[guest_files.accelerator()]
    text = DEFINITION.read_text().replace("@DOMAIN_TYPE@", kind)
    return text.replace("@CPU@", processor)


def mark() -> str:
    """What the definition is of, so that another one is noticed."""
    return f"{name()} {hashlib.sha256(definition().encode()).hexdigest()}"


def is_defined() -> bool:
    defined = DEFINED.read_text().strip() if DEFINED.exists() else ""
    return defined == mark() and name() in said("list", "--all", "--name").split()


def awaited() -> list[str]:
    """Given devices that vfio-pci does not have yet."""
    lines = [line.split() for line in GIVEN.read_text().splitlines() if line[:1] not in ("#", "")]
    addresses = []
    for address, _ in lines:
        driver = Path("/sys/bus/pci/devices", address, "driver")
        if not driver.exists() or driver.resolve().name != "vfio-pci":
            addresses.append(address)
    return addresses


def runs(guest: str) -> bool:
    return said("domstate", guest) in ("running", "paused", "in shutdown")


def lacking() -> str:
    """What is to be done, "" for nothing."""
    settings = json.loads(ASKED.read_text())
    if not guest_files.disk(settings["name"]).exists():
        return "its disk"
    if not guest_files.seed_is_new(settings["name"]):
        return "its seed"
    if NETWORK not in said("net-list", "--name", "--autostart").split():
        return "its network"
    if not is_defined():
        return "its definition"
    if "enable" not in said("dominfo", name()).partition("Autostart:")[2].split("\n")[0]:
        return "its start at boot"
    return "" if runs(settings["name"]) or awaited() else "its start"


def state() -> str:
    if lack := lacking():
        return f"lacks {lack}"
    if not awaited():
        return f"ok {name()} runs with {guest_files.accelerator()}"
    return f"ok {name()} waits for {' '.join(awaited())}, which come at the next boot"


def stand() -> None:
    settings = json.loads(ASKED.read_text())
    guest_files.make_disk(settings)
    guest_files.make_seed(settings["name"])
    for words in ("net-autostart", "net-start"):
        if NETWORK not in said("net-list", "--name").split() or words == "net-autostart":
            virsh(words, NETWORK)
    if guest_files.accelerator() == "tcg":
        print(f"No KVM here ({guest_files.complaint()}): the guest is emulated, and slow.")
    if not is_defined():
        _let_go_of_another()
        _define()
    virsh("autostart", name())
    if not runs(name()) and not awaited():
        virsh("start", name())
    print(state().removeprefix("ok "))


def _let_go_of_another() -> None:
    """One guest has the cards: that of an earlier name comes up no more."""
    defined = DEFINED.read_text().split() if DEFINED.exists() else []
    if defined and defined[0] != name():
        stop(defined[0])


def _define() -> None:
    if runs(name()):
        print(f"{name()} runs on as it is; its new definition counts from its next start.")
    DEFINED.parent.mkdir(parents=True, exist_ok=True)
    made = DEFINED.with_suffix(".xml")
    made.write_text(definition())
    virsh("define", str(made))
    made.unlink()
    DEFINED.write_text(f"{mark()}\n")


def stop(guest: str) -> None:
    """An orderly end, as by its power button, and none that comes up by itself."""
    if guest not in said("list", "--all", "--name").split():
        return
    virsh("autostart", "--disable", guest)
    if runs(guest):
        virsh("shutdown", guest)
    until = time.monotonic() + SECONDS_TO_STOP
    while runs(guest) and time.monotonic() < until:
        time.sleep(1)
    if runs(guest):
        print(f"{guest} did not stop within {SECONDS_TO_STOP} s; it runs until the next boot.")
    else:
        print(f"{guest} is stopped, and stays defined with its disk; `virsh undefine --nvram "
              f"{guest}` takes it away.")  # fmt: skip


def check(_: list[str]) -> Standing:
    standing = state()
    return Standing(OK if standing.startswith("ok ") else OWED, standing)


def apply(_: list[str]) -> None:
    stand()


def main() -> None:
    match sys.argv[1:]:
        case ["state"]:
            print(state())
        case ["stand"]:
            stand()
        case ["rest"]:
            stop(name())
        case _:
            sys.exit("passthrough-guest takes one of: state, stand, rest.")
