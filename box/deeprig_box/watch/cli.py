"""Look for what needs a person and send word of it: once when it comes, daily while it stays, once
when it is over. What cannot be sent is kept and sent later. deeprig-watch.timer runs it.
Exit status 0 also where a message is still to be sent; 1 after one line where --test fails.
"""

import argparse
import hashlib
import sys
import time
from typing import Any

from deeprig_box.lib import bounded
from deeprig_box.watch.delivery import CONF, Message, Undelivered, deliver
from deeprig_box.watch.hardware import failing_disks, lacking_arrays, lost_gpus, old_driver
from deeprig_box.watch.state import alone, compare, entry, load, moment, save
from deeprig_box.watch.system import (
    CannotTell,
    failed_units,
    full,
    kept_kernels,
    missing_mounts,
    waiting_reboot,
)

# A finder's name is the beginning of its keys.
FINDERS = {
    "full": full,
    "smart": failing_disks,
    "array": lacking_arrays,
    "unit": failed_units,
    "mount": missing_mounts,
    "gpu": lost_gpus,
    "reboot": waiting_reboot,
    "driver": old_driver,
    "boot": kept_kernels,
}
SERVICE = "deeprig-watch.service"


def look(state: dict[str, Any], now: float) -> None:
    """Ask every finder; one that cannot look changes nothing about what it found before."""
    standing = state["standing"]
    for name, find in FINDERS.items():
        before = {key for key in standing if key.startswith(f"{name}:")}
        try:
            findings = {f.key: f for f in find(before, state["memory"], now)}
        except CannotTell:
            continue
        except Exception as error:  # one look that fails must not stop the others
            print(f"Could not look for {name}: {error}.", file=sys.stderr)
            continue
        compare(state, before, findings, now)


def send(state: dict[str, Any]) -> None:
    """Empty the outbox, oldest first, up to the first message that cannot be sent."""
    state["trouble"] = ""
    while state["outbox"]:
        first = state["outbox"][0]
        try:
            deliver(Message(first["title"], first["text"], first["priority"], first["tag"]))
        except Undelivered as undelivered:
            state["trouble"] = str(undelivered)
            print(f"{len(state['outbox'])} messages kept: {undelivered}.", file=sys.stderr)
            return
        del state["outbox"][0]
        save(state)


def target() -> str:
    """What stands for the settings that a test message has proved."""
    return hashlib.sha256(CONF.read_bytes()).hexdigest()


def prove(state: dict[str, Any]) -> bool:
    """Whether a test message went where the settings say, now or before."""
    if state["proved"] == target():
        return True
    text = "From now on this box sends word here when it needs a person."
    message = entry("test", "notifications work", text, "default", "bell")
    try:
        deliver(Message(message["title"], text, message["priority"], message["tag"]))
    except Undelivered as undelivered:
        state["trouble"] = str(undelivered)
        print(f"The test message could not be sent: {undelivered}.", file=sys.stderr)
        return False
    state["proved"] = target()
    save(state)
    return True


def test() -> None:
    """Have the service send a test message, within the bounds that are set to it."""
    with alone():
        save(load() | {"proved": ""})
    bounded.run(["systemctl", "start", SERVICE], seconds=bounded.LONG)
    state = load()
    if state["proved"] != target():
        why = state["trouble"] or f"`journalctl -u {SERVICE}` says why"
        sys.exit(f"The test message could not be sent: {why}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test", action="store_true", help="send a test message")
    parser.add_argument("--check", action="store_true", help="say ok if a test message went out")
    parser.add_argument("--forget-gpus", action="store_true", help="take the GPUs as they are now")
    options = parser.parse_args()
    if options.check:
        print("ok" if load()["proved"] == target() else "")
        return
    if options.test:
        test()
        return
    with alone():
        state = load()
        if options.forget_gpus:
            state["memory"].pop("gpus", None)
        now = time.time()
        look(state, now)
        state["ran"] = moment(now)
        save(state)
        if prove(state):
            send(state)
        save(state)
