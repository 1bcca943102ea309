"""A move of the driver, step by step; any step can be the last before a power cut."""

import json
from pathlib import Path
from typing import Any

from deeprig_box.boot import kernel_check as boot_proof
from deeprig_box.driver import debs as driver_debs
from deeprig_box.driver import dkms as driver_build
from deeprig_box.driver import hold as driver_hold
from deeprig_box.driver import reboot as driver_reboot
from deeprig_box.driver import rollback as driver_back
from deeprig_box.driver import simulate as driver_apt
from deeprig_box.driver import snapshot as driver_snapshot
from deeprig_box.driver import state as record
from deeprig_box.driver import transaction as driver_transaction
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver as driver_proof
from deeprig_box.nvidia import index as driver_index

WANTED = Path("/etc/deeprig/driver-wanted.json")
CUT_OFF = "it was cut off in the middle (power, or its process)"


def go() -> None:
    """Do what the record asks for; begun anew at boot, it takes up where it was cut off."""
    move = record.load()
    step, booted = move["step"], record.booted_since(move)
    if step == record.ASKED and booted:
        record.note(move, record.REFUSED, why=f"{CUT_OFF}, before anything was touched")
    elif step == record.ASKED and move["kind"] == "upgrade":
        upgrade(move)
    elif step == record.ASKED:
        driver_back.back(move, "")
    elif step == record.INSTALLING:
        driver_back.back(move, CUT_OFF)
    elif step == record.GOING_BACK:
        driver_back.back(move, move["why"])
    elif step in (record.REBOOTING, record.REBOOT_OWED) and booted:
        arrive(move)
    elif step == record.REBOOTING_BACK and booted:
        driver_back.arrive_back(move)


def upgrade(move: dict[str, Any]) -> None:
    try:
        driver_reboot.gate()  # what would refuse the reboot is said before anything moves
        driver_reboot.wait_for_dpkg()
        way = choose(move)
        if way is None:
            record.note(move, record.SAME, after=driver_proof.driver_version())
            print(f"Nothing to move: {move['after']} is what apt has for the plan.", flush=True)
            return
        touch(move, after=way.version, came=way.came)
        install(move["before"], way)
    except BoxError as wrong:
        give_up(move, str(wrong))
        return
    owed(move)


def choose(move: dict[str, Any]) -> driver_transaction.Way | None:
    """The pin moved, everything chosen, compared and fetched; None where nothing would change."""
    plan, old_plan = json.loads(WANTED.read_text()), driver_proof.plan()
    old = driver_snapshot.moving()
    driver_index.read_anew(plan)
    if driver_transaction.pins_to_move(plan):
        touch(move)
        driver_transaction.pin(plan)
    way = driver_transaction.choose(plan, old, old_plan)
    if why := driver_transaction.objection(way, old, plan):
        raise BoxError(why)
    if way.is_nothing:
        take_over()
        return None
    print(f"From {move['before']} to {way.version}: {sentence(way)}", flush=True)
    driver_transaction.fetch(way)
    return way


def touch(move: dict[str, Any], **known: object) -> None:
    """From here on something is not as it was, and the snapshot is what there is to go back to."""
    if move["step"] == record.ASKED:
        driver_snapshot.settle()
    record.note(move, record.INSTALLING, **known)


def sentence(way: driver_transaction.Way) -> str:
    said = [f"{len(way.came)} packages come", f"{len(way.would.removed)} go"]
    return f"{', '.join(said)}, {len(way.would.arrives) - len(way.came)} move"


def take_over() -> None:
    """The wanted plan is what stands."""
    draft = driver_proof.PLAN.with_suffix(".new")
    draft.write_bytes(WANTED.read_bytes())
    draft.replace(driver_proof.PLAN)


def install(version: str, way: driver_transaction.Way) -> None:
    """Let go, install, prove for every kernel, hold again, and ask whether it would boot."""
    before = list(driver_snapshot.moving())
    take_over()
    driver_build.newest_has_what_it_needs()
    held = driver_apt.held()
    driver_hold.mark("unhold", [name for name in before if name in held])
    driver_transaction.install(way)
    packages = driver_snapshot.moving()
    driver_hold.only(driver_proof.driver_set(), before)
    lacking = driver_debs.keep(way.version, packages)
    driver_debs.keep_downloads(way.version, list(packages))  # empties the folder of downloads
    if lacking:
        print(f"No .deb could be kept of {' '.join(lacking)}.", flush=True)
    driver_debs.prune([version, way.version])
    driver_reboot.gate()


def owed(move: dict[str, Any]) -> None:
    """Installed: reboot where that is owed and nothing runs there, else leave it and say so."""
    why = boot_proof.owed()
    if not why:
        driver_reboot.load()
        record.note(move, record.MOVED)
        print(f"Driver {move['after']} is in place; no reboot is owed.", flush=True)
    elif not move["reboot"]:
        record.note(move, record.REBOOT_OWED, why=why)
        print(f"A reboot is owed ({why}), and left to you.", flush=True)
    elif busy := [] if move["force"] else driver_reboot.at_work():
        record.note(move, record.REBOOT_OWED, why=why)
        print(f"A reboot is owed ({why}); left pending: there runs {', '.join(busy)}.", flush=True)
    else:
        record.note(move, record.REBOOTING, why=why)
        print(f"Rebooting: {why}.", flush=True)
        driver_reboot.reboot()


def arrive(move: dict[str, Any]) -> None:
    """After the reboot: the new driver in use, or the way back."""
    done = driver_reboot.ask("reboot-gate", "arrived")
    if done.code:
        driver_back.back(
            move, done.err.strip().removeprefix("The reboot is done, and ").rstrip(".")
        )
        return
    record.note(move, record.MOVED, why="")
    print(f"Arrived: {done.out.strip()}.", flush=True)


def give_up(move: dict[str, Any], why: str) -> None:
    if move["step"] == record.ASKED:
        driver_snapshot.put_back_files(driver_snapshot.drafted()["files"])
        record.note(move, record.REFUSED, why=why)
        print(f"Nothing was touched: {why}.", flush=True)
        return
    driver_back.back(move, why)
