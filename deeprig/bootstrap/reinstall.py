"""First contact with a reinstalled box that gets its kept host keys back."""

import base64
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paramiko

from deeprig.bootstrap import first_contact
from deeprig.bootstrap.first_contact import Outcome
from deeprig.errors import DeeprigError
from deeprig.ssh import connection, root_shell
from deeprig.ssh import known_hosts as pinned
from deeprig.ssh.first_login import Password, Target
from deeprig.ssh.host_key_backup import HostKeys

SCRIPT = Path(__file__).parent / "host_keys_back.sh"
STATE = "/run/deeprig-host-keys"
UPLOAD = (
    f"if [ -e {STATE}/script ]; then sh {STATE}/script undo; fi; "
    f"umask 077; rm -rf {STATE}; mkdir {STATE} && cat >{STATE}/script"
)


def restore_host_keys(
    target: Target,
    *,
    kept: HostKeys,
    key: Path,
    known_hosts: Path,
    password: Password,
    accept: Callable[[str], bool],
) -> Outcome:
    """Like bootstrap.bootstrap, and the box has the kept host keys after it.

    The keys that the installer made are trusted for this one visit, and never pinned. Raises what
    that raises; then the box shows the installer's keys, and known_hosts is as it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        visit = Path(folder) / "known_hosts"
        if known_hosts.is_file():
            shutil.copy(known_hosts, visit)
        outcome = first_contact.bootstrap(
            target,
            key=key,
            known_hosts=visit,
            password=password,
            accept=lambda shown: shown in kept.fingerprints or accept(shown),
            reinstalled=True,
        )
        own = _preferred(kept, known_hosts, target.hostname)
        put_back = _put_back(target, outcome, kept, own)
    _pin(known_hosts, target, own)
    changed = [each for each in outcome.changed if str(visit) not in each]
    restored = ["host keys (those from before the reinstall are back)"] if put_back else []
    return replace(
        outcome,
        known_hosts=known_hosts,
        fingerprint=own.fingerprint,
        changed=(*restored, *changed),
    )


def _pin(file: Path, target: Target, own: paramiko.PKey) -> None:
    """The one door that is open now: a port that was moved before is to be proved anew."""
    pinned.forget(file, target.hostname, target.port)
    pinned.pin(file, target.hostname, target.port, own)


def _preferred(kept: HostKeys, file: Path, hostname: str) -> paramiko.PKey:
    """The kept key that is pinned, or else the ed25519 one."""
    keys = [
        paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
        for kind, blob in (each.split() for each in kept.public)
    ]
    known = [entry.key for entry in pinned.entries(file, hostname)]
    keys.sort(key=lambda key: (key not in known, key.get_name() != "ssh-ed25519"))
    return keys[0]


def _put_back(target: Target, outcome: Outcome, kept: HostKeys, own: paramiko.PKey) -> bool:
    """Whether the box's host keys changed to the kept ones, seen by a new login."""
    with connection.connect(_door(outcome, outcome.known_hosts), port=target.port) as client:
        transport = client.get_transport()
        assert transport is not None  # there is one as long as the login stands
        if not put(transport, kept):
            return False
        proof = outcome.known_hosts.with_name("proof")
        pinned.pin(proof, target.hostname, target.port, own)
        try:
            connection.connect(_door(outcome, proof), port=target.port).close()
        except DeeprigError as error:
            _as_root(transport, f"sh {STATE}/script undo")
            raise DeeprigError(
                f"{target} did not show its kept host keys ({str(error).partition(';')[0]}); "
                "the installer's are back, and nothing was pinned."
            ) from None
        _as_root(transport, f"sh {STATE}/script confirm")
    return True


def put(transport: paramiko.Transport, kept: HostKeys) -> bool:
    """Whether the box had other keys; then it has the kept ones now, on trial for two minutes."""
    _as_root(transport, f"sh -c '{UPLOAD}'", SCRIPT.read_text())
    archive = base64.encodebytes(kept.archive).decode()
    return "changed" in _as_root(transport, f"sh {STATE}/script put", archive)


def _as_root(transport: paramiko.Transport, command: str, stdin: str = "") -> str:
    done = root_shell.run(transport, f"sudo -n {command}", stdin=stdin)
    if done.code != 0:
        raise DeeprigError(
            f"the kept host keys could not be put back: {done.last_words}; the installer's stay."
        )
    return done.out


def _door(outcome: Outcome, pins: Path) -> dict[str, object]:
    return connection.data(
        hostname=outcome.hostname,
        user=outcome.user,
        port=outcome.port,
        new_port=None,
        key=outcome.key,
        known_hosts=pins,
    )
