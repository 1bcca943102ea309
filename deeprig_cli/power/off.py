"""`deeprig off`: the card armed once more, then the power off, unless work would be lost."""

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import paramiko

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.facts import encryption, workload
from deeprig.ssh import connection, probe, root_shell
from deeprig.ssh.probe import Reachability
from deeprig.ui import screen, summary
from deeprig.ui.options import inventory_option, json_option, limit_option, usual_inventory
from deeprig.ui.progress import Progress
from deeprig.ui.summary import Line
from deeprig_cli.power import arm

GONE_SECONDS = 300  # systemd itself waits 90 s for a service that will not stop
LOOK_SECONDS = 1
# As clean, but nobody is asked: since systemd 257 inhibitors bind root too, and -i needs polkit.
FORCED = "start --no-block --job-mode=replace-irreversibly poweroff.target"


@dataclass(kw_only=True)
class Off:
    """What came of it: why it was refused, or how long it took."""

    host: str
    wake: str  # the command that does; empty where the card is left alone
    refused: str = ""
    work: tuple[str, ...] = ()
    unarmed: str = ""
    asks: str = ""  # what its next boot waits for
    off: bool = False
    seconds: float = 0.0
    error: str = ""  # why it could not be asked

    @property
    def code(self) -> int:
        if self.error:
            return 2
        return 0 if self.off else 1

    def page(self) -> str:
        if self.error:
            return self.error
        if self.refused:
            return self.refused
        if not self.off:
            return (
                f"{self.host} still answers after {self.seconds:.0f} s; something there does not "
                "stop: look at its screen, or at the power switch."
            )
        armed = self.wake and not self.unarmed
        how = f"`{self.wake}` wakes it" if armed else "its power button wakes it, no packet of ours"
        asks = f" {self.asks}." if self.asks else ""
        return f"{self.host} is off after {self.seconds:.0f} s; {how}.{asks}"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "seconds": round(self.seconds, 1)}


@click.command()
@click.argument("host", required=False)
@inventory_option
@limit_option
@click.option("--force", is_flag=True, help="Also where work runs there, or no packet can wake it.")
@json_option
def off(
    host: str | None, inventory: Path, limit: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Power HOST off, ready to be woken by `deeprig wake`; several boxes by --limit.

    It refuses while work runs there or somebody is logged in, where no packet would wake it, and
    where its boot would wait for a passphrase.
    Exits 0 where it is off, 1 where it refuses or does not go down, 2 where it could not ask.
    """
    limits = (*limit, host) if host else limit
    boxes = inventories.named(inventory, limits, "no box is powered off unasked")
    done: list[Off] = []
    for name, data in boxes:
        wakes = data["rig"].wake_on_lan is not None
        done.append(Off(host=name, wake=_how_to_wake(name, inventory) if wakes else ""))
        try:
            _go_off(done[-1], data, force=force)
        except DeeprigError as error:
            done[-1].error = str(error)
        if not as_json or done[-1].error:
            screen.echo(done[-1].page(), err=bool(done[-1].error))
    lines = [Line(one.host, one.code, one.page()) for one in done]
    if as_json:
        answers = [one.to_json() for one in done]
        screen.as_json(answers[0] if len(boxes) == 1 else answers)
    elif len(lines) > 1:
        screen.echo(summary.table(lines))
    sys.exit(summary.code(lines))


def _go_off(found: Off, data: dict[str, Any], *, force: bool) -> None:
    name, progress = found.host, Progress()
    armed = ", and arm its card" if found.wake else ""
    with connection.connect(data) as client:
        transport = client.get_transport()
        assert transport is not None
        with progress.step(f"Ask {name} what runs there{armed}"):
            _ask(found, transport, data)
        found.refused = "" if force else why_not(found)
        if not found.refused:
            found.refused = _power_off(transport, name, force=force)
    if not found.refused:
        with progress.step(f"Power {name} off"):
            found.off = _wait_until_gone(found, data, progress)


def why_not(found: Off) -> str:
    """Why it stays on, in a sentence; empty where nothing speaks against it."""
    reasons = []
    if found.work:
        reasons.append(f"there run {', '.join(found.work)}")
    if found.unarmed:
        reasons.append(found.unarmed)
    if found.asks:
        reasons.append(found.asks)
    if not reasons:
        return ""
    return f"{found.host} stays on: {'; '.join(reasons)}. --force powers it off all the same."


def _how_to_wake(name: str, inventory: Path) -> str:
    where = "" if inventory == usual_inventory() else f" --inventory {shlex.quote(str(inventory))}"
    return f"deeprig wake {name}{where}"


def _ask(found: Off, transport: paramiko.Transport, data: dict[str, Any]) -> None:
    found.work = tuple(workload.work(transport, found.host))
    if settings := data["rig"].wake_on_lan:
        found.unarmed = arm.arm(transport, data, settings)
    found.asks = encryption.asked_at_boot(transport, found.host)


def _power_off(transport: paramiko.Transport, name: str, *, force: bool) -> str:
    """Begin it; what systemd says where it will not, as while an inhibitor forbids it."""
    done = root_shell.run(transport, f"sudo -n systemctl {FORCED if force else 'poweroff'}")
    if done.code <= 0:  # -1: the link was gone before the answer
        return ""
    return (
        f"{name} stays on: {done.last_words.rstrip('.')}; `systemd-inhibit --list` there says who "
        "forbids it. --force powers it off all the same."
    )


def _wait_until_gone(found: Off, data: dict[str, Any], progress: Progress) -> bool:
    """Whether nothing answers there any more; a kernel that still refuses is not off."""
    started = time.monotonic()
    while (seen := probe.probe(data)) is not Reachability.NOTHING:
        found.seconds = time.monotonic() - started
        if found.seconds > GONE_SECONDS:
            return False
        progress.doing(
            "SSH still answers" if seen is Reachability.OPEN else "SSH is down, the box is not"
        )
        time.sleep(LOOK_SECONDS)
    found.seconds = time.monotonic() - started
    return True
