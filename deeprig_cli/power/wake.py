"""`deeprig wake`: a magic packet to a box that is off, and the wait until it lets you in."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.facts import wake_memory
from deeprig.facts.wake_memory import WakeTarget
from deeprig.inventories import Box
from deeprig.ssh import connection, openssh, probe, ssh_config
from deeprig.ssh.probe import Reachability
from deeprig.ui import screen, summary
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig.ui.progress import Progress
from deeprig.ui.summary import Line
from deeprig_cli.power import magic_packet, report
from deeprig_cli.power.magic_packet import Destination
from deeprig_cli.power.report import Woken
from deeprig_cli.power.wait import Waking

WAIT_SECONDS = 600  # a board with much memory tests it for minutes before it boots


@click.command()
@click.argument("host", required=False)
@inventory_option
@limit_option
@click.option(
    "--via", metavar="JUMPHOST", help="Send the packet from this host, on the box's LAN, over SSH."
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=WAIT_SECONDS,
    show_default=True,
    help="Seconds to wait for it.",
)
@json_option
def wake(
    host: str | None,
    inventory: Path,
    limit: tuple[str, ...],
    via: str | None,
    timeout: int,
    as_json: bool,
) -> None:
    """Power HOST on by a magic packet, and wait until it lets you in; several by --limit.

    Exits 0 where it is awake, 1 where it does not come up, 2 where no packet could be sent.
    """
    limits = (*limit, host) if host else limit
    boxes = inventories.named(inventory, limits, "no box is woken unasked")
    if len(boxes) > 1:
        _send_to_all(boxes, inventory, via)  # they boot at the same time
    lines: list[Line] = []
    answers: list[dict[str, Any]] = []
    for name, data in boxes:
        try:
            woken = _wake(name, data, inventory, via, timeout)
        except DeeprigError as error:
            lines.append(Line(name, 2, str(error)))
            answers.append({"host": name, "awake": False, "error": str(error)})
            screen.echo(error, err=True)
            continue
        lines.append(Line(name, 0 if woken.awake else 1, woken.page().splitlines()[0]))
        answers.append(woken.to_json())
        if not as_json:
            screen.echo(woken.page())
    if as_json and answers:
        screen.as_json(answers[0] if len(boxes) == 1 else answers)
    elif len(lines) > 1:
        screen.echo(summary.table(lines))
    sys.exit(summary.code(lines))


def _wake(name: str, data: dict[str, Any], inventory: Path, via: str | None, timeout: int) -> Woken:
    """One box, to its end. Raises DeeprigError where it cannot even be tried."""
    connection.check_known(data)
    via = via or _jump_host(data)
    waking = Waking(data, Progress())
    with waking.progress.step(f"Look whether {name} is awake"):
        awake = waking.is_awake()
    to = None
    if not awake:
        to = _aim(name, data, inventory, via)
        if to.from_elsewhere and not via:
            screen.echo(report.elsewhere(to), err=True)
        with waking.progress.step(f"Wake {name}"):
            awake = waking.wait(_sender(inventory, via, to), timeout)
    return Woken(name=name, awake=awake, aim=to, via=via, waking=waking)


def _jump_host(data: dict[str, Any]) -> str | None:
    """Who is on the box's own network, where the owner's ssh goes to it through somebody."""
    return next(reversed(connection.entry_of(data).jumps), None)


def _send_to_all(boxes: list[Box], inventory: Path, via: str | None) -> None:
    """A first packet to each that is off; what goes wrong is said when it is that box's turn."""
    for name, data in boxes:
        with suppress(DeeprigError):
            if probe.probe(data) is not Reachability.OPEN:
                last = via or _jump_host(data)
                _sender(inventory, last, _aim(name, data, inventory, last))()


def _aim(name: str, data: dict[str, Any], inventory: Path, via: str | None) -> Destination:
    """Where the packet goes. Raises DeeprigError where nobody knows, or none gets out of here."""
    if magic_packet.is_wsl2() and not via:
        raise DeeprigError(
            "this is WSL2, whose NAT lets no broadcast out; have a host on the box's LAN send it: "
            f"`deeprig wake {name} --via HOST`."
        )
    hostname, settings = connection.entry_of(data).hostname, data["rig"].wake_on_lan
    known = wake_memory.find(wake_memory.file_of(data), wake_memory.name_of(data))
    if settings and settings.mac:
        known = WakeTarget(settings.mac, known.lan if known else "")
    if known is None:
        raise DeeprigError(
            f"nobody knows the network card of {name}: this machine has not deployed to it since "
            f"Wake-on-LAN was on; put WakeOnLan(mac=...) in {inventory}."
        )
    return magic_packet.aim(known, hostname)


def _sender(inventory: Path, via: str | None, to: Destination) -> Callable[[], None]:
    """What sends some packets. A jump host that is in the inventory is reached as that says."""
    if via is None:
        return partial(magic_packet.send, to)
    boxes = dict(inventories.load(inventory))

    def ssh(command: str) -> list[str]:
        if via in boxes:
            return openssh.command(via, boxes[via], (), command)
        return ssh_config.users_own_ssh(ssh_config.destination(via), command)

    return partial(magic_packet.send_via, via, ssh, to)
