"""The way back to the driver that stood before, whatever state things are in; without a network."""

from typing import Any

from deeprig_box.boot import kernel_check
from deeprig_box.driver import reboot, snapshot, state
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver


def back(move: dict[str, Any], why: str) -> None:
    """To the snapshot, whatever state things are in; without a network."""
    before = snapshot.load()
    if before is None:
        state.note(
            move, state.STUCK, why=f"{f'{why}; ' if why else ''}there is no snapshot to go back to"
        )
        return
    state.note(move, state.GOING_BACK, why=why)
    print(f"Going back to driver {before['version']}{f': {why}' if why else ''}.", flush=True)
    try:
        reboot.wait_for_dpkg()
        snapshot.restore(before, move["came"])
        reboot.gate()
    except BoxError as wrong:
        state.note(move, state.STUCK, why=f"{f'{why}; then ' if why else ''}{wrong}")
        print(f"The way back is not whole: {wrong}.", flush=True)
        return
    arrived_back(move, before["version"])


def arrived_back(move: dict[str, Any], version: str) -> None:
    reason = kernel_check.owed()
    busy = [] if move["force"] else reboot.at_work()
    if reason and move["reboot"] and not busy:
        state.note(move, state.REBOOTING_BACK)
        print(f"Rebooting into driver {version}: {reason}.", flush=True)
        reboot.reboot()
        return
    if not reason:
        reboot.load()
    snapshot.used(failed=move["kind"] == "upgrade")
    state.note(move, state.BACK, after=version)
    left = f"; a reboot is owed ({reason})" if reason else ""
    print(f"Driver {version} is back, held as before{left}.", flush=True)


def arrive_back(move: dict[str, Any]) -> None:
    done = reboot.ask("reboot-gate", "arrived")
    if done.code:
        state.note(move, state.STUCK, why=done.err.strip().rstrip("."))
        print(f"{move['why']}.", flush=True)
        return
    snapshot.used(failed=move["kind"] == "upgrade")
    state.note(move, state.BACK, after=driver.driver_version())
    print(f"Driver {move['after']} is back: {done.out.strip()}.", flush=True)
