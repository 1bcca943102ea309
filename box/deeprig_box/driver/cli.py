"""NVIDIA's driver from one version to another, and back; it ends by itself, whoever watches.

take             note what stands, with a .deb of each package, before anything is touched
busy             what a move would disturb, one line each
begin upgrade|rollback [--force] [--no-reboot]
go               do it; deeprig-driver-move.service, which also goes on after a power cut
follow [N]       what it says, from line N on, until it ends or reboots; the last line is JSON
confirm          it was verified from outside
status [NAME...] JSON: what is loaded, on disk, installed, planned, held, offered, and what moved it
Exit status 0 when done, 1 after one line on stderr that says what is wrong.
"""

import json
import sys
import time

from deeprig_box.driver import reboot, snapshot, state, status, upgrade
from deeprig_box.lib import bounded, place
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver

UNIT = "deeprig-driver-move.service"
OPTIONS = {"--force", "--no-reboot"}
PAUSE = 0.3
STARTS_WITHIN = 150  # seconds from SSH to the unit, after a boot


def begin(kind: str, options: set[str]) -> None:
    move = state.load()
    if move["step"] in (state.ASKED, state.INSTALLING, state.GOING_BACK) and active():
        raise BoxError(
            "a move of the driver is under way; `deeprig driver status` says where it is"
        )
    force = "--force" in options
    if not force and (busy := reboot.at_work()):
        raise BoxError(f"there runs {', '.join(busy)}; nothing was touched, --force goes ahead")
    if kind == "rollback" and snapshot.load() is None:
        raise BoxError("there is nothing to go back to: no upgrade has been made here")
    state.begin(
        kind,
        driver.driver_version(),
        force=force,
        reboot="--no-reboot" not in options,
        came=move["came"] if kind == "rollback" else [],
    )
    bounded.run(["systemctl", "reset-failed", UNIT])
    done = bounded.run(["systemctl", "start", UNIT])
    if done.code:
        raise BoxError(f"{UNIT} does not start: {done.err.strip()}")


def active() -> bool:
    state_of_unit = bounded.run(["systemctl", "is-active", UNIT]).out.strip()
    return state_of_unit in ("active", "activating", "deactivating")


def follow(skip: int) -> None:
    """Everything that is said of this move, then its record as it stands."""
    shown, quiet_since = 0, time.monotonic()
    while True:
        ended = has_ended(quiet_since)
        lines = said()
        for line in lines[max(shown, skip) :]:
            print(line, flush=True)
            quiet_since = time.monotonic()
        shown = len(lines)
        if ended:
            print(json.dumps(state.load()), flush=True)
            return
        time.sleep(PAUSE)


def has_ended(quiet_since: float) -> bool:
    """Whether nothing more is to be said now: at an end, on the way down, or cut off."""
    move = state.load()
    booted = state.booted_since(move)
    if move["step"] in (state.REBOOTING, state.REBOOTING_BACK, state.REBOOT_OWED):
        return not booted or time.monotonic() - quiet_since > STARTS_WITHIN
    if move["step"] in state.ENDS:
        return not active() or time.monotonic() - quiet_since > 5
    return not active() and time.monotonic() - quiet_since > (STARTS_WITHIN if booted else 3)


def said() -> list[str]:
    if not state.LOG.exists():
        return []
    with state.LOG.open(errors="replace") as log:
        log.seek(state.load()["log"])
        text = log.read()
    return text[: text.rfind("\n") + 1].splitlines()


def confirm() -> None:
    move = state.load()
    if move["step"] in (state.MOVED, state.BACK):
        state.note(move, move["step"], verified=True)


def main() -> None:
    match sys.argv[1:]:
        case ["take"]:
            snapshot.take()
        case ["busy"]:
            print("\n".join(reboot.at_work()))
        case ["begin", ("upgrade" | "rollback") as kind, *options] if set(options) <= OPTIONS:
            begin(kind, set(options))
        case ["go"]:
            upgrade.go()
        case ["follow", *skip]:
            follow(int(skip[0]) if skip else 0)
        case ["confirm"]:
            confirm()
        case ["status", *names]:
            print(json.dumps(status.facts(names)))
        case _:
            raise BoxError(place.told("driver-move"))
