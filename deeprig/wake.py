"""`deeprig wake`: a magic packet to a box that is off, and the wait until it lets you in."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from deeprig import inventories, magic_packet, openssh, presence, wake_memory, wake_page
from deeprig.errors import DeeprigError
from deeprig.magic_packet import Aim
from deeprig.options import inventory_option, json_option, limit_option
from deeprig.progress import Progress
from deeprig.wake_memory import Remembered
from deeprig.waking import Waking

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
    """Power HOST on by a magic packet, and wait until it lets you in.

    Exits 0 where it is awake, 1 where it does not come up, 2 where no packet could be sent.
    """
    wanted = (*limit, host) if host else limit
    name, data = inventories.one(inventory, wanted, "one box is woken at a time")
    presence.check_known(data)
    waking = Waking(data, Progress())
    with waking.progress.step(f"Look whether {name} is awake"):
        awake = waking.is_awake()
    to = None
    if not awake:
        to = _aim(name, data, inventory, via)
        if to.from_elsewhere and not via:
            click.echo(wake_page.elsewhere(to), err=True)
        with waking.progress.step(f"Wake {name}"):
            awake = waking.wait(_sender(inventory, via, to), timeout)
    found = wake_page.Woken(name=name, awake=awake, aim=to, via=via, waking=waking)
    print(json.dumps(found.to_json()) if as_json else found.page())
    sys.exit(0 if awake else 1)


def _aim(name: str, data: dict[str, Any], inventory: Path, via: str | None) -> Aim:
    """Where the packet goes. Raises DeeprigError where nobody knows, or none gets out of here."""
    if magic_packet.is_wsl2() and not via:
        raise DeeprigError(
            "this is WSL2, whose NAT lets no broadcast out; have a host on the box's LAN send it: "
            f"`deeprig wake {name} --via HOST`."
        )
    hostname, settings = data["ssh_hostname"], data["rig"].wake_on_lan
    known = wake_memory.find(wake_memory.file_of(data), hostname)
    if settings and settings.mac:
        known = Remembered(settings.mac, known.lan if known else "")
    if known is None:
        raise DeeprigError(
            f"nobody knows the network card of {name}: this machine has not deployed to it since "
            f"Wake-on-LAN was on; put WakeOnLan(mac=...) in {inventory}."
        )
    return magic_packet.aim(known, hostname)


def _sender(inventory: Path, via: str | None, to: Aim) -> Callable[[], None]:
    """What sends some packets. A jump host that is in the inventory is reached as that says."""
    if via is None:
        return partial(magic_packet.send, to)
    boxes = dict(inventories.load(inventory))

    def ssh(command: str) -> list[str]:
        if via in boxes:
            return openssh.command(via, boxes[via], (), command)
        return magic_packet.users_own_ssh(via, command)

    return partial(magic_packet.send_via, via, ssh, to)
