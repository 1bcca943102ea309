"""`deeprig bootstrap`: first contact from the command line."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from deeprig import bootstrap as contact
from deeprig import inventories
from deeprig.answers import Answers
from deeprig.bootstrap import Outcome, Target
from deeprig.errors import DeeprigError
from deeprig.host_key import HostKeyChanged
from deeprig.key_pair import USUAL
from deeprig.login import PasswordNeeded
from deeprig.options import json_option

INVENTORY = Path("inventory.py")
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("host")
@click.option("--user", help="Who can log in now and use sudo (usually the installer's).  [ai]")
@click.option("--port", type=click.IntRange(1, 65535), help="Where sshd listens.  [22]")
@click.option("--key", type=FILE, help=f"Your private key.  [{USUAL}]")
@click.option("--known-hosts", type=FILE, help="Where host keys are pinned.  [known_hosts]")
@click.option("--inventory", type=FILE, help=f"HOST may be a box in this.  [{INVENTORY}]")
@click.option("--fingerprint", metavar="SHA256:...", help="The host key to expect; none other.")
@click.option("--yes", is_flag=True, help="Believe a host key that was never seen; make the key.")
@click.option("--reinstalled", is_flag=True, help="Replace the pinned host key.")
@click.option("--password-stdin", is_flag=True, help="The password is the first line of stdin.")
@json_option
def bootstrap(
    host: str,
    user: str | None,
    port: int | None,
    key: Path | None,
    known_hosts: Path | None,
    inventory: Path | None,
    as_json: bool,
    **answers: Any,
) -> None:
    """First contact with HOST: pin its host key, make the user that deploys, prove its login."""
    before, _, name = host.rpartition("@")
    asked = Answers(**answers)
    data = _in_inventory(name, inventory)
    known_port = data.get("bootstrap_port" if asked.reinstalled else "ssh_port")
    target = Target(
        hostname=data.get("ssh_hostname", name),
        port=port or int(known_port or 22),
        user=user or before or "ai",
    )
    outcome = _contact(
        target,
        key=asked.key((key or Path(data.get("ssh_key") or USUAL)).expanduser().absolute()),
        pins=known_hosts or Path(data.get("ssh_known_hosts_file") or "known_hosts"),
        answers=asked,
    )
    print(json.dumps(outcome.to_json()) if as_json else _page(outcome, listed=bool(data)))


def _in_inventory(name: str, file: Path | None) -> dict[str, Any]:
    """The box's data; none where no inventory was named and the usual one does not list it."""
    if file is None and not INVENTORY.is_file():
        return {}
    try:
        boxes = dict(inventories.load(file or INVENTORY))
    except DeeprigError as error:
        if file:
            raise
        click.echo(
            f"Taking {name} for an address, since the inventory is broken: {error}", err=True
        )
        return {}
    if file and name not in boxes:
        raise DeeprigError(f"{file} has no box {name!r}; it has: {', '.join(boxes)}.")
    return boxes.get(name, {})


def _contact(target: Target, *, key: Path, pins: Path, answers: Answers) -> Outcome:
    attempt = partial(
        contact.bootstrap, target, key=key, known_hosts=pins, password=answers.password(target)
    )
    try:
        return attempt(
            accept=lambda shown: answers.is_the_box(target, shown, pins),
            reinstalled=answers.reinstalled,
        )
    except HostKeyChanged as changed:
        if not answers.may_replace(changed):
            raise
        replacement = changed.shown
    except PasswordNeeded as error:
        raise DeeprigError(f"{error} No terminal to ask on: use --password-stdin.") from None
    return attempt(accept=lambda shown: shown == replacement, reinstalled=True)


def _page(outcome: Outcome, *, listed: bool) -> str:
    key = f"key {outcome.key}" if outcome.key else "key in your agent"
    lines = [
        f"{outcome.user} logs in on {outcome.hostname} port {outcome.port} with the {key}, "
        "and sudo asks it for nothing.",
        *(f"  changed: {change}" for change in outcome.changed or ("nothing",)),
    ]
    if not listed:
        port = f", port={outcome.port}" if outcome.port != 22 else ""
        named = outcome.key and outcome.key != USUAL.expanduser()
        key_setting = f', key="{outcome.key}"' if named else ""
        lines.append(f'In inventory.py: box("{outcome.hostname}"{port}{key_setting}, rig=Rig())')
    return "\n".join(lines)
