"""A move of the driver, step by step; any step can be the last before a power cut."""

import json
from pathlib import Path
from typing import Any

from deeprig_box.boot import kernel_check
from deeprig_box.driver import (
    debs,
    dkms,
    hold,
    reboot,
    rollback,
    simulate,
    snapshot,
    state,
    transaction,
)
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver, index

WANTED = Path("/etc/deeprig/driver-wanted.json")
CUT_OFF = "it was cut off in the middle (power, or its process)"


def go() -> None:
    """Do what the record asks for; begun anew at boot, it takes up where it was cut off."""
    move = state.load()
    step, booted = move["step"], state.booted_since(move)
    if step == state.ASKED and booted:
        state.note(move, state.REFUSED, why=f"{CUT_OFF}, before anything was touched")
    elif step == state.ASKED and move["kind"] == "upgrade":
        upgrade(move)
    elif step == state.ASKED:
        rollback.back(move, "")
    elif step == state.INSTALLING:
        rollback.back(move, CUT_OFF)
    elif step == state.GOING_BACK:
        rollback.back(move, move["why"])
    elif step in (state.REBOOTING, state.REBOOT_OWED) and booted:
        arrive(move)
    elif step == state.REBOOTING_BACK and booted:
        rollback.arrive_back(move)


def upgrade(move: dict[str, Any]) -> None:
    try:
        reboot.gate()  # what would refuse the reboot is said before anything moves
        reboot.wait_for_dpkg()
        way = choose(move)
        if way is None:
            state.note(move, state.SAME, after=driver.driver_version())
            print(f"Nothing to move: {move['after']} is what apt has for the plan.", flush=True)
            return
        touch(move, after=way.version, came=way.came)
        install(move["before"], way)
    except BoxError as wrong:
        give_up(move, str(wrong))
        return
    owed(move)


def choose(move: dict[str, Any]) -> transaction.Way | None:
    """The pin moved, everything chosen, compared and fetched; None where nothing would change."""
    plan, old_plan = json.loads(WANTED.read_text()), driver.plan()
    old = snapshot.moving()
    index.read_anew(plan)
    if transaction.pins_to_move(plan):
        touch(move)
        transaction.pin(plan)
    way = transaction.choose(plan, old, old_plan)
    if why := transaction.objection(way, old, plan):
        raise BoxError(why)
    if way.is_nothing:
        take_over()
        return None
    print(f"From {move['before']} to {way.version}: {sentence(way)}", flush=True)
    transaction.fetch(way)
    return way


def touch(move: dict[str, Any], **known: object) -> None:
    """From here on something is not as it was, and the snapshot is what there is to go back to."""
    if move["step"] == state.ASKED:
        snapshot.settle()
    state.note(move, state.INSTALLING, **known)


def sentence(way: transaction.Way) -> str:
    parts = [f"{len(way.came)} packages come", f"{len(way.would.removed)} go"]
    return f"{', '.join(parts)}, {len(way.would.arrives) - len(way.came)} move"


def take_over() -> None:
    """The wanted plan is what stands."""
    draft = driver.PLAN.with_suffix(".new")
    draft.write_bytes(WANTED.read_bytes())
    draft.replace(driver.PLAN)


def install(version: str, way: transaction.Way) -> None:
    """Let go, install, prove for every kernel, hold again, and ask whether it would boot."""
    before = list(snapshot.moving())
    take_over()
    dkms.newest_has_what_it_needs()
    held = simulate.held()
    hold.mark("unhold", [name for name in before if name in held])
    transaction.install(way)
    packages = snapshot.moving()
    hold.only(driver.driver_set(), before)
    lacking = debs.keep(way.version, packages)
    debs.keep_downloads(way.version, list(packages))  # empties the folder of downloads
    if lacking:
        print(f"No .deb could be kept of {' '.join(lacking)}.", flush=True)
    debs.prune([version, way.version])
    reboot.gate()


def owed(move: dict[str, Any]) -> None:
    """Installed: reboot where that is owed and nothing runs there, else leave it and say so."""
    why = kernel_check.owed()
    if not why:
        reboot.load()
        state.note(move, state.MOVED)
        print(f"Driver {move['after']} is in place; no reboot is owed.", flush=True)
    elif not move["reboot"]:
        state.note(move, state.REBOOT_OWED, why=why)
        print(f"A reboot is owed ({why}), and left to you.", flush=True)
    elif busy := [] if move["force"] else reboot.at_work():
        state.note(move, state.REBOOT_OWED, why=why)
        print(f"A reboot is owed ({why}); left pending: there runs {', '.join(busy)}.", flush=True)
    else:
        state.note(move, state.REBOOTING, why=why)
        print(f"Rebooting: {why}.", flush=True)
        reboot.reboot()


def arrive(move: dict[str, Any]) -> None:
    """After the reboot: the new driver in use, or the way back."""
    done = reboot.ask("reboot-gate", "arrived")
    if done.code:
        rollback.back(move, done.err.strip().removeprefix("The reboot is done, and ").rstrip("."))
        return
    state.note(move, state.MOVED, why="")
    print(f"Arrived: {done.out.strip()}.", flush=True)


def give_up(move: dict[str, Any], why: str) -> None:
    if move["step"] == state.ASKED:
        snapshot.put_back_files(snapshot.drafted()["files"])
        state.note(move, state.REFUSED, why=why)
        print(f"Nothing was touched: {why}.", flush=True)
        return
    rollback.back(move, why)
