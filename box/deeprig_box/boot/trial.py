"""New kernel parameters, network or SSH settings are booted once; what fails is taken back.

keep          keep the state that this boot began with, to go back to; `kept` says whether it is
renew         make GRUB's menu anew and use it only where it still boots this system
arm           have the next boot be a trial, if anything has changed since the last good one
due           `armed`, `settled`, `due`, or why a trial cannot be made
owed          JSON, as reboot-gate's: why parameters or cards need a reboot, and what it would end
wait          before a reboot by deeprig: stay with the new state only if somebody logs in
arrived       after that reboot: what was waited for, in use; status 1 where it is not
confirm       somebody is here: what runs now is good
watch         every minute after a boot: confirm, go on waiting, or go back
back          at boot, before the network: GRUB took the old menu, so the rest goes back as well
state         `ok`, or what a person must know
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deeprig_box.boot import passthrough, snapshot, state
from deeprig_box.boot.grub_trial import mark, renew, set_mark, why_not
from deeprig_box.boot.health import anybody, is_up, logins
from deeprig_box.lib import bounded, files, place, workload
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.programs import run
from deeprig_box.lib.standing import LATER, OK, OWED, Standing

STATE = Path("/var/lib/deeprig/boot-trial.json")
MOTD = Path("/var/lib/deeprig/boot-trial.motd")
WATCHDOG = Path("/etc/systemd/system.conf.d/50-deeprig-trial.conf")
TIMER = "deeprig-boot-trial.timer"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OURS = "[0-9]*-deeprig-*.cfg"
NAME = "GRUB_CMDLINE_LINUX(?:_DEFAULT)?"
SET = re.compile(rf'^{NAME}="\${NAME} (.*)"$', re.MULTILINE)
NO_HURRY = {"panic=30", "fsck.repair=yes"}  # worth no reboot of their own
MINUTES = 15
WATCHDOG_SECONDS = 120
SYSTEMD = "org.freedesktop.systemd1"
MANAGER = (SYSTEMD, f"/{SYSTEMD.replace('.', '/')}", f"{SYSTEMD}.Manager")


def load() -> dict[str, Any]:
    """`changed` is on trial, for the sake of `waiting` or any boot; `said` is for people; `good` is
    the boot that the kept state was last looked at in.
    """
    fresh = {"changed": [], "waiting": False, "said": "", "good": "", "minutes": MINUTES}
    try:
        record = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return fresh
    return fresh | record if isinstance(record, dict) else fresh


def save(trial: dict[str, Any]) -> None:
    files.write(STATE, json.dumps(trial, indent=1) + "\n")
    files.write(MOTD, f"deeprig: {trial['said']}.\n" if trial["said"] else "")


def is_kept() -> bool:
    """Of this boot, before a deploy changes anything in it; what is armed has been kept."""
    return snapshot.is_kept() and (mark() == "armed" or load()["good"] == this_boot())


def this_boot() -> str:
    return BOOT_ID.read_text().strip()


def due() -> str:
    if not snapshot.is_kept():
        return "nothing is kept"
    trial, changed = load(), snapshot.changed()
    if not changed:
        return "due" if trial["said"] or mark() == "armed" else "settled"
    if why := why_not():
        return why
    return "armed" if mark() == "armed" and trial["changed"] == changed else "due"


def arm() -> None:
    trial, changed, why = load(), snapshot.changed(), why_not()
    if changed and why:
        print(f"The next boot is no trial: {why}. If it does not come up, it takes a screen.")
    elif not changed:
        set_mark("")
        WATCHDOG.unlink(missing_ok=True)
    else:
        if parameter_files(changed):
            print(arm_watchdog())
        set_mark("armed")
        print(f"The next boot is a trial: {len(changed)} files that it depends on have changed.")
    save(trial | {"changed": [] if why else changed, "waiting": False, "said": ""})


def parameter_files(changed: list[str]) -> list[str]:
    return [path for path in changed if path.startswith(snapshot.PARAMETERS)]


def arm_watchdog() -> str:
    """Have systemd feed the watchdog from its first moment on; what a silent hang would need."""
    watchdogs = [
        name
        for place in sorted(Path("/sys/class/watchdog").glob("watchdog*"))
        if (name := (place / "identity").read_text().strip()) != "Software Watchdog"
    ]
    if not watchdogs:
        return "This box has no hardware watchdog: if it hangs silently, only its switch helps."
    text = "# Written by deeprig (boot-trial): it comes and goes with a trial.\n[Manager]\n"
    files.write(WATCHDOG, f"{text}RuntimeWatchdogSec={WATCHDOG_SECONDS}\n")
    return f"If it hangs silently, its watchdog ({watchdogs[0]}) starts it anew."


def owed() -> str:
    """Which parameters of ours wait for a reboot, to come or to go, and which cards change hands at
    one; empty if none does.
    """
    now, before = parameters(Path("/")), parameters(snapshot.KEPT)
    used = Path("/proc/cmdline").read_text().split()
    waiting = [word for word in now if word not in used]
    waiting += [f"no {word}" for word in before if word not in now and word in used]
    reasons = [f"kernel parameters wait for it ({', '.join(waiting)})"] if waiting else []
    if moving := passthrough.waiting():
        reasons.append(f"cards change hands at it ({', '.join(moving)})")
    return "; ".join(reasons)


def arrived() -> str:
    if why := load()["said"] or owed():
        sys.exit(f"The reboot is done, and not all is well: {why}.")
    if cards := passthrough.left():
        sys.exit(
            f"The reboot is done, and vfio-pci did not get {', '.join(cards)}; `systemctl status "
            "deeprig-passthrough` says why."
        )
    return f"booted with {', '.join(parameters(Path('/'))) or 'no parameter of its own'}"


def parameters(root: Path) -> list[str]:
    files = sorted((root / "etc/default/grub.d").glob(OURS))
    lines = [line for file in files for line in SET.findall(file.read_text())]
    return [word for line in lines for word in line.split() if word not in NO_HURRY]


def wait() -> None:
    """Nobody's login, and the box goes back; only in a boot that somebody waits for."""
    if mark() == "armed":
        save(load() | {"waiting": True})


def confirm() -> None:
    """What runs now is what the next boot may go back to."""
    WATCHDOG.unlink(missing_ok=True)
    running = mark() in ("used", "")  # armed: changed, and not booted yet
    if mark() == "used":
        run("busctl", "set-property", *MANAGER, "RuntimeWatchdogUSec", "t", "0")
        set_mark("")
    trial = load() | {"good": this_boot(), "waiting": False}
    if running:
        snapshot.keep()
        trial |= {"changed": []}
    save(trial)


def watch() -> None:
    """One look; the timer ends where nothing is left to wait for."""
    trial, uptime = load(), float(Path("/proc/uptime").read_text().split()[0])
    if mark() == "used":
        here = logins() if trial["waiting"] else is_up()
        if here:
            confirm()
        elif uptime > trial["minutes"] * 60 and trial["waiting"] and not anybody():
            go_back(f"nobody came in within {trial['minutes']} minutes of a boot with new settings")
            run("systemctl", "reboot", "--no-block")
        else:
            return
    elif mark() == "" and trial["good"] != this_boot():
        if not is_up():
            return
        confirm()
    run("systemctl", "stop", "--no-block", TIMER)


def go_back(why: str) -> None:
    """Everything as it last booted well; takes effect with the next boot."""
    files = snapshot.restore()
    run("update-grub", environment=bounded.in_the_boxs_language())
    os.sync()
    WATCHDOG.unlink(missing_ok=True)
    set_mark("")
    shown = ", ".join(f"/{path}" for path in files[:3]) + (" ..." if len(files) > 3 else "")
    when = time.strftime("%Y-%m-%d %H:%M")
    sentence = f"{when}: {why}, so it went back to the settings from before ({shown}); deploy again"
    save(load() | {"changed": [], "waiting": False, "said": sentence})
    print(f"deeprig: {sentence}.", flush=True)


def back() -> None:
    if mark() != "back":
        return
    network = [path for path in snapshot.changed() if path not in parameter_files([path])]
    go_back("a boot with new settings did not come up")
    if network:  # some of it was read before this
        run("systemctl", "reboot", "--no-block")


def check(_: list[str]) -> Standing:
    standing = due()
    if standing in ("settled", "armed"):
        return Standing(OK)
    if standing == "due":
        return Standing(OWED)
    return Standing(LATER, f"A boot that fails is not taken back: {standing}.")


def apply(_: list[str]) -> None:
    with state.alone():
        arm()


def main() -> None:
    verbs = {
        "keep": confirm, "renew": renew, "arm": arm, "wait": wait, "confirm": confirm,
        "watch": watch, "back": back,
    }  # fmt: skip
    answers: dict[str, Callable[[], str]] = {
        "kept": lambda: "yes" if is_kept() else "",
        "due": due,
        "owed": lambda: json.dumps({"owed": owed(), **workload.all_of_it()}),
        "arrived": arrived,
        "state": lambda: load()["said"] or "ok",
    }
    verb = " ".join(sys.argv[1:])
    if verb in answers:
        print(answers[verb]())
    elif verb in verbs:
        with state.alone():
            verbs[verb]()
    else:
        raise BoxError(place.told("boot-trial"))
