"""`deeprig bootstrap`: first contact from the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from deeprig import inventories
from deeprig.bootstrap import first_contact
from deeprig.bootstrap.first_contact import Outcome, Target
from deeprig.bootstrap.identity import CANDIDATES, open_kept
from deeprig.bootstrap.prompts import Answers
from deeprig.bootstrap.reinstall import restore_host_keys
from deeprig.errors import DeeprigError
from deeprig.ssh import connection, host_key_backup, ssh_config
from deeprig.ssh.first_login import PasswordNeeded
from deeprig.ssh.host_key_backup import HostKeys
from deeprig.ssh.host_key_trust import HostKeyChanged
from deeprig.ssh.key_pair import USUAL
from deeprig.ui import screen
from deeprig.ui.options import json_option, usual_inventory

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("host")
@click.option("--user", help="Who can log in now and use sudo (usually the installer's).  [ai]")
@click.option("--port", type=click.IntRange(1, 65535), help="Where sshd listens.  [22]")
@click.option("--key", type=FILE, help=f"Your private key.  [{USUAL}]")
@click.option("--known-hosts", type=FILE, help="Where host keys are pinned.  [known_hosts]")
@click.option("--inventory", type=FILE, help="HOST may be a box in this.  [inventory.py]")
@click.option("--fingerprint", metavar="SHA256:...", help="The host key to expect; none other.")
@click.option("--yes", is_flag=True, help="Believe a host key that was never seen; make the key.")
@click.option(
    "--reinstalled", is_flag=True, help="It was: it has a new host key, or gets its kept ones back."
)
@click.option("--identity", type=FILE, help="The private key that opens kept host keys.  [--key]")
@click.option("--password-stdin", is_flag=True, help="The password is the first line of stdin.")
@json_option
def bootstrap(
    host: str,
    user: str | None,
    port: int | None,
    key: Path | None,
    known_hosts: Path | None,
    inventory: Path | None,
    identity: Path | None,
    as_json: bool,
    **answers: Any,
) -> None:
    """First contact with HOST: pin its host key, make the user that deploys, prove its login."""
    before, _, name = host.rpartition("@")
    given = Answers(**answers)
    data = _in_inventory(name, inventory)
    known_port = data.get("bootstrap_port" if given.reinstalled else "ssh_port")
    hostname = data.get("ssh_hostname", name)
    own = ssh_config.of(hostname)
    target = Target(
        hostname=hostname,
        port=port or int(known_port or own.port or 22),
        user=user or before or own.user or "ai",
    )
    named = key or connection.key_of(data) or next(iter(own.identities), USUAL)
    outcome = contact_by(
        target,
        key=given.key(Path(named).expanduser().absolute()),
        pins=known_hosts or Path(data.get("ssh_known_hosts_file") or "known_hosts"),
        identity=identity,
        answers=given,
    )
    if as_json:
        screen.as_json(outcome.to_json())
    else:
        screen.echo(_page(outcome, listed=bool(data)))


def _in_inventory(name: str, file: Path | None) -> dict[str, Any]:
    """The box's data; none where no inventory was named and the usual one does not list it."""
    usual = usual_inventory()
    if file is None and not usual.is_file():
        return {}
    try:
        boxes = dict(inventories.load(file or usual))
    except DeeprigError as error:
        if file:
            raise
        screen.echo(
            f"Taking {name} for an address, since the inventory is broken: {error}", err=True
        )
        return {}
    if file and name not in boxes:
        raise DeeprigError(f"{file} has no box {name!r}; it has: {', '.join(boxes)}.")
    return boxes.get(name, {})


def contact_by(
    target: Target, *, key: Path, pins: Path, identity: Path | None, answers: Answers
) -> Outcome:
    """Bootstrap the box with these answers, asking for what they leave open."""
    candidates = [identity] if identity else [key, *CANDIDATES]
    who: dict[str, Any] = {
        "key": key,
        "known_hosts": pins,
        "password": answers.password(target),
    }

    def visit(*, reinstalled: bool, vouched: str = "") -> Outcome:
        kept = _kept(target, pins, candidates, answers) if reinstalled else None
        # Who shows the new key is about to be given the kept ones: a person must have compared it.
        asker = replace(answers, reinstalled=reinstalled and kept is None)

        def accept(shown: str) -> bool:
            return shown == vouched if vouched else asker.is_the_box(target, shown, pins)

        if kept:
            return restore_host_keys(target, kept=kept, accept=accept, **who)
        return first_contact.bootstrap(target, accept=accept, reinstalled=reinstalled, **who)

    try:
        return visit(reinstalled=answers.reinstalled)
    except HostKeyChanged as changed:
        if not answers.may_replace(changed):
            raise
        return visit(reinstalled=True, vouched=changed.shown)
    except PasswordNeeded as error:
        raise DeeprigError(f"{error} No terminal to ask on: use --password-stdin.") from None


def _kept(target: Target, pins: Path, candidates: list[Path], answers: Answers) -> HostKeys | None:
    """The box's kept host keys, opened; None where there are none, which is said."""
    file = host_key_backup.file_of(pins, target.hostname, target.port)
    if file.is_file():
        return open_kept(file, candidates, answers.passphrase())
    screen.echo(f"No host keys of {target.hostname} are kept: it has new ones now.", err=True)
    return None


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
        entry = f'box("{outcome.hostname}"{port}{key_setting}, rig=Rig())'
        lines.append(f"In {usual_inventory()}: {entry}")
    return "\n".join(lines)
