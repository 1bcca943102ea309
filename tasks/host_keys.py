"""The box's SSH host keys, kept on the machine that deploys, for the day it is reinstalled."""

import base64
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig import operations
from deeprig.errors import DeeprigError
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.ssh import connection, host_key_backup, root_shell

SECONDS = 30
# No client takes DSA any more; cloud images left such keys lying about.
EACH = "cd /etc/ssh && for key in ssh_host_*_key; do case $key in *_dsa_*) continue;; esac; "
# The .pub files go along where they are there; sshd does without them.
READ = (
    f'set --; {EACH} set -- "$@" "$key"; [ ! -f "$key.pub" ] || set -- "$@" "$key.pub"; done '
    '&& tar -cf - "$@" | base64'
)


class HostKeyFingerprints(BoxFact[list[str]]):
    """`SHA256:...` of each SSH host key of the box, by its private half."""

    default = list

    def command(self) -> str:
        return (
            f'{EACH} ssh-keygen -yf "$key" </dev/null 2>/dev/null | ssh-keygen -lf - 2>/dev/null; '
            "done | awk '{print $2}'"
        )

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output]


@deploy("SSH host keys")
def keep(public_key: str) -> None:
    """Have them here, encrypted to this public key, as they are on the box."""
    fetch(name="Keep the host keys here, encrypted", recipient=public_key)


@operation()
def fetch(recipient: str) -> Commands:
    """Encrypt the box's host keys into a file beside known_hosts, unless it holds them already."""
    file = _file(host.data.dict(), host)
    now = host.get_fact(HostKeyFingerprints)
    if now and host_key_backup.are_kept(file, recipient=recipient, fingerprints=now):
        host.noop(f"{file} has them")
        return
    yield operations.Step(_fetch, recipient)


def _file(data: dict[str, Any], host: Host) -> Path:
    port = int(data.get("bootstrap_port") or 22)
    hostname = str(data.get("ssh_hostname") or host.name)
    return host_key_backup.file_of(connection.pins_of(data), hostname, port)


def _fetch(state: State, host: Host, recipient: str) -> bool:
    """By a login of our own: what pyinfra runs, it keeps, and prints with -v."""
    data = host.data.dict()
    file = _file(data, host)
    try:
        keys = host_key_backup.read_archive(_read(data, host))
        host_key_backup.keep(file, keys, recipient=recipient)
    except (DeeprigError, OSError) as error:
        operations.say(host, f"The host keys could not be kept in {file}: {error}", wrong=True)
        return False
    return True


def _read(data: dict[str, Any], host: Host) -> bytes:
    door = int(host.connector.data.get("ssh_port") or 22)  # it may have moved in this very run
    sudo = root_shell.as_root(data)
    with connection.connect({**data, "ssh_port": door}) as client:
        transport = client.get_transport()
        assert transport is not None  # there is one as long as the login stands
        done = root_shell.run(transport, f"{sudo}sh -c '{READ}'", seconds=SECONDS)
    if done.code:
        raise DeeprigError(done.err.strip() or "sudo refused")
    try:
        return base64.b64decode(done.out)
    except ValueError:
        raise DeeprigError("that is no archive of host keys.") from None
