"""The reboot that a driver or kernel parameter needs: if nothing runs there, and proved."""

import json
from pathlib import Path
from typing import NamedTuple

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands, StreamedCommand
from deeprig.operations.facts import BootId, Manifest
from deeprig.settings import Rig
from tasks import boot_guard, boot_trial, manifest

# `--data reboot=now` on pyinfra's command line.
NOW = "now"
BY_HAND = "`sudo systemctl reboot` there when it suits you, then deploy again"
OWN_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Due(NamedTuple):
    """Why a reboot is owed, empty if none is; what it would end, and who may be there."""

    owed: str = ""
    work: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


class RebootDue(BoxFact[Due]):
    """What the box says of a reboot; nothing where no driver is looked after."""

    default = Due

    def command(self) -> str:
        return f"{boot_guard.if_there('due')}; {boot_trial.if_there('owed')}"

    def process(self, output: list[str]) -> Due:
        answers = [json.loads(line) for line in output]
        if not answers:
            return Due()
        reasons = [each["owed"] for each in answers if each["owed"]]
        return Due("; ".join(reasons), tuple(answers[0]["work"]), tuple(answers[0]["people"]))


@deploy("Reboot")
def when_due(rig: Rig, asks: str = "") -> None:
    """Reboot if driver or kernel parameters need it and `Rig.reboot` allows it, and prove it.

    `asks` says what a boot waits for, where it needs a person.
    """
    first = not host.get_fact(Manifest, path=manifest.PATH)  # asked before anything is changed
    done = _if_owed(
        name="Reboot if that is owed", policy=rig.reboot, first=first, asked=_asked(), asks=asks
    )
    _arrive(name="See what it was for in use", _if=done.did_change)


def _asked() -> bool:
    return bool(host.data.get("reboot") == NOW)


@operation(is_idempotent=False, idempotent_notice="It reboots where that is owed and allowed.")
def _if_owed(policy: str, first: bool, asked: bool, asks: str) -> Commands:
    """Nothing is owed, or it is left and said, or the gate is passed and the box rebooted."""
    due: Due = host.get_fact(RebootDue)
    if not due.owed:
        host.noop("no reboot is owed")
        return
    left = why_left(due, policy=policy, first=first, asked=asked, asks=asks)
    if is_this_machine(host.get_fact(BootId)):
        left = f"it is the machine that you deploy from; {BY_HAND}"
    if left:
        if host.state.is_executing:
            operations.say(host, f"A reboot is owed: {due.owed}. Left pending: {left}.")
        host.noop("left pending")
        return
    yield StreamedCommand(boot_guard.if_there("check"))
    if not asks:  # its minutes begin with the boot, not with the passphrase
        yield StringCommand(boot_trial.if_there("wait"))
    yield from operations.reboot._inner()


def why_left(due: Due, *, policy: str, first: bool, asked: bool, asks: str = "") -> str:
    """Why the reboot is not made now; empty if it is. On a first deploy people do not count."""
    now = f"`--data reboot={NOW}` on this command makes it"
    if policy == "never":
        return f'Rig.reboot is "never"; {BY_HAND}'
    if asked:
        return ""
    if asks:
        return f"{asks}; be there, and {now}, or {BY_HAND}"
    if policy == "ask":
        return f'Rig.reboot is "ask"; {now}'
    busy = due.work if first else (*due.work, *due.people)
    return f"there runs {', '.join(busy)}; the next deploy makes it, or {now}" if busy else ""


def is_this_machine(boot_id: str) -> bool:
    """Whether this process would go down with the box."""
    return OWN_BOOT_ID.exists() and OWN_BOOT_ID.read_text().strip() == boot_id


@operation()
def _arrive() -> Commands:
    yield StringCommand(boot_trial.if_there("confirm"))
    yield StreamedCommand(boot_guard.if_there("arrived"))
    yield StreamedCommand(boot_trial.if_there("arrived"))
