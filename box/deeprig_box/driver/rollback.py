"""The way back to the driver that stood before, whatever state things are in; without a network."""

from typing import Any

from deeprig_box.boot import kernel_check as boot_proof
from deeprig_box.driver import reboot as driver_reboot
from deeprig_box.driver import snapshot as driver_snapshot
from deeprig_box.driver import state as record
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver as driver_proof


def back(move: dict[str, Any], why: str) -> None:
    """To the snapshot, whatever state things are in; without a network."""
    snapshot = driver_snapshot.load()
    if snapshot is None:
        record.note(
            move, record.STUCK, why=f"{f'{why}; ' if why else ''}there is no snapshot to go back to"
        )
        return
    record.note(move, record.GOING_BACK, why=why)
    print(f"Going back to driver {snapshot['version']}{f': {why}' if why else ''}.", flush=True)
    try:
        driver_reboot.wait_for_dpkg()
        driver_snapshot.restore(snapshot, move["came"])
        driver_reboot.gate()
    except BoxError as wrong:
        record.note(move, record.STUCK, why=f"{f'{why}; then ' if why else ''}{wrong}")
        print(f"The way back is not whole: {wrong}.", flush=True)
        return
    arrived_back(move, snapshot["version"])


def arrived_back(move: dict[str, Any], version: str) -> None:
    reason = boot_proof.owed()
    busy = [] if move["force"] else driver_reboot.at_work()
    if reason and move["reboot"] and not busy:
        record.note(move, record.REBOOTING_BACK)
        print(f"Rebooting into driver {version}: {reason}.", flush=True)
        driver_reboot.reboot()
        return
    if not reason:
        driver_reboot.load()
    driver_snapshot.used(failed=move["kind"] == "upgrade")
    record.note(move, record.BACK, after=version)
    left = f"; a reboot is owed ({reason})" if reason else ""
    print(f"Driver {version} is back, held as before{left}.", flush=True)


def arrive_back(move: dict[str, Any]) -> None:
    done = driver_reboot.ask("reboot-gate", "arrived")
    if done.code:
        record.note(move, record.STUCK, why=done.err.strip().rstrip("."))
        print(f"{move['why']}.", flush=True)
        return
    driver_snapshot.used(failed=move["kind"] == "upgrade")
    record.note(move, record.BACK, after=driver_proof.driver_version())
    print(f"Driver {move['after']} is back: {done.out.strip()}.", flush=True)
