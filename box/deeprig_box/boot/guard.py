"""Keep the boot loader on a kernel that has the driver's module, whoever installed a newer one.

look [--quiet]   set the boot loader right; print what a person must know, --quiet: what is new
settled          `yes` where look would change nothing
arm              before a kernel comes: stay on the one that boots now, until look has proved it
build KERNEL     have the driver's modules for it, if they can be had
rebuild KERNEL   the same, though they seem to be there; then look
booted           at boot: note whether the module loaded, then look
state            `ok ...`, or what a person must know, one line each
lift             let go of the boot loader
"""

import functools
import os
import sys
from typing import Any

from deeprig_box.boot import autoremove, dkms, grub, kernel_check, state
from deeprig_box.boot.grub import Loader
from deeprig_box.lib import place
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.standing import OK, OWED, Standing
from deeprig_box.nvidia import driver

OTHER = (
    "this box was booted by {}, which does not ask GRUB, so nothing keeps it off a kernel without "
    "the driver"
)
NO_GRUB = "this box does not boot with GRUB, so nothing keeps it off a kernel without the driver"


def proved(record: dict[str, Any]) -> list[str]:
    """The kernels that come up with the driver, oldest first; each is noted in the record."""
    kernels = driver.kernels()
    if kernel_check.half_there():  # what was proved holds until the driver is whole again, or gone
        return [kernel for kernel in kernels if state.was_proved(record, kernel)]
    good = [kernel for kernel in kernels if kernel_check.has_driver() and not unfit(record, kernel)]
    for kernel in good:
        state.note_proved(record, kernel, kernel_check.identity(kernel))
    return good


def unfit(record: dict[str, Any], kernel: str) -> str:
    """Why this kernel is not to be booted by itself; empty where it may be."""
    failed = state.failed(record, kernel, kernel_check.identity(kernel))
    return failed or kernel_check.unfit(kernel)


def safe(loader: Loader, good: list[str]) -> str:
    """The entry of the last proved kernel; where none is, the one that it stays on now."""
    held = [pin for pin in map(loader.address, good) if pin]
    return held[-1] if held else (loader.pin if loader.kernel_at(loader.pin) else "")


def wanted_pin(loader: Loader, good: list[str]) -> str:
    """The entry that the boot loader must stay on; empty where its own choice is right."""
    usual = loader.usual.kernel
    guarded = kernel_check.has_driver() or kernel_check.half_there()
    own = not guarded or not usual or usual in good
    return "" if own else safe(loader, good)


def settle(record: dict[str, Any]) -> list[str]:
    """Set the boot loader right; the kernels that are proved."""
    good, kernels = proved(record), driver.kernels()
    record["kernels"] = {name: row for name, row in record["kernels"].items() if name in kernels}
    dkms.note_unbuilt(record, [kernel for kernel in kernels if kernel not in good])
    loader = Loader()
    if (held := safe(loader, good)) and unknown(loader, record):
        grub.renew(held)  # never without a pin: the newest comes first in the menu
        loader = Loader()
        record["unlisted"] = [kernel for kernel in kernels if not loader.address(kernel)]
    grub.stay_on(loader, wanted_pin(loader, good))
    autoremove.settle(good)
    return good


def unknown(loader: Loader, record: dict[str, Any]) -> list[str]:
    """Kernels that GRUB's menu does not have yet."""
    if not grub.has_grub():
        return []
    new = [kernel for kernel in driver.kernels() if not loader.address(kernel)]
    return [kernel for kernel in new if kernel not in record["unlisted"]]


def look(quiet: bool) -> None:
    with state.alone():
        dkms.leave_to_us(True)
        record = state.load()
        told, good = record["said"], settle(record)
        loader = Loader()
        record |= {"next": loader.next.kernel, "said": findings(loader, good, record)}
        state.save(record)
    for line in record["said"]:
        if not quiet or line not in told:
            print(f"deeprig: {line}.", flush=True)
    if told and not record["said"]:
        print(f"deeprig: kernel {loader.next.kernel} boots next, with its driver.", flush=True)


def settled() -> bool:
    record, loader = state.load(), Loader()
    good = proved(record)
    return (
        record["said"] == findings(loader, good, record)
        and record["next"] == loader.next.kernel
        and autoremove.wanted(good) == autoremove.there()
        and not (safe(loader, good) and unknown(loader, record))
        and loader.obeys(wanted_pin(loader, good))
        and not dkms.by_itself(True)
    )


def findings(loader: Loader, good: list[str], record: dict[str, Any]) -> list[str]:
    """What a person must know, a sentence each; none where the next boot comes up right."""
    sentences = []
    if (half := kernel_check.half_there()) and "DPKG_MAINTSCRIPT_NAME" not in os.environ:
        sentences.append(f"{half} is half installed; `sudo dpkg --configure -a` goes on with it")
    if kernel_check.has_driver() and driver.kernels():
        sentences.append(without_module(loader, good, record))
        if not grub.has_grub():
            sentences.append(NO_GRUB)
        elif other := grub.other():
            sentences.append(OTHER.format(other))
        elif not loader.next.kernel:
            sentences.append(f"{loader.next.title!r} boots next, which is no kernel of this system")
        sentences.append(f"a reboot is owed: {why}" if (why := kernel_check.owed()) else "")
    return [line for line in (*sentences, kernel_check.room()) if line]


def without_module(loader: Loader, good: list[str], record: dict[str, Any]) -> str:
    usual, coming = loader.usual.kernel, loader.next.kernel
    if not usual or usual in good:
        return ""
    why = unfit(record, usual)
    then = (
        f"the box boots {coming} until it is"
        if coming in good
        else f"{coming} boots next all the same"
    )
    return f"kernel {usual} is not fit to boot ({why}); {then}; {kernel_check.remedy(usual)}"


def arm() -> None:
    """No update-grub here: the kernel's own installation runs it, and finds this in place."""
    with state.alone():
        dkms.leave_to_us(True)
        loader = Loader()
        here = loader.address(loader.set.kernel)
        good = proved(state.load())
        if grub.has_grub() and here and not loader.pin and loader.set.kernel in good:
            grub.write_pin(here)


def booted() -> None:
    kernel = os.uname().release
    if driver.cards() and kernel_check.has_driver() and not kernel_check.module(kernel):
        use = driver.in_use()
        trouble = kernel_check.refused() if use == "load" else ""
        with state.alone():
            record = state.load()
            if trouble or not use.startswith("reboot"):  # what is in the way then is not the kernel
                state.note_boot(record, kernel, kernel_check.identity(kernel), trouble)
                state.save(record)
    look(quiet=False)


def sentence() -> str:
    record, loader = state.load(), Loader()
    sentences = findings(loader, proved(record), record)
    version = driver.driver_version() if kernel_check.has_driver() else "none"
    return "\n".join(sentences) or f"ok {loader.next.kernel} boots next, with driver {version}"


def lift() -> None:
    with state.alone():
        grub.stay_on(Loader(), "")
        autoremove.lift()
        dkms.leave_to_us(False)


def check(_: list[str]) -> Standing:
    remember()
    return Standing(OK if settled() else OWED)


def apply(_: list[str]) -> None:
    remember()
    look(quiet=False)


def remember() -> None:
    """It changes no package, and asks for each kernel what dpkg takes its time to say."""
    driver.installed = functools.cache(driver.installed)


def main() -> None:
    remember()
    words = sys.argv[1:]
    if words[:1] == ["look"]:
        look(quiet="--quiet" in words)
    elif words in (["state"], ["settled"]):
        print(sentence() if words == ["state"] else "yes" if settled() else "")
    elif words[:1] == ["build"] and len(words) == 2:
        dkms.build(words[1])
    elif words[:1] == ["rebuild"] and len(words) == 2:
        dkms.build(words[1], anyway=True)
        look(quiet=False)
    elif words in (["arm"], ["booted"], ["lift"]):
        {"arm": arm, "booted": booted, "lift": lift}[words[0]]()
    else:
        raise BoxError(place.told("boot-guard"))
