"""First contact with a box: its host key pinned, the deploy user made, that user's login proved."""

import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import paramiko

from deeprig.errors import DeeprigError
from deeprig.facts import people
from deeprig.settings import DEPLOY_USER
from deeprig.ssh import connection, first_login, host_key_trust, key_pair, root_shell, ssh_config
from deeprig.ssh import known_hosts as pinned
from deeprig.ssh.first_login import Login, Password, PasswordNeeded, Target
from deeprig.ssh.host_key_trust import HostKeyChanged
from deeprig.ssh.key_pair import KeyPair

__all__ = ["HostKeyChanged", "Outcome", "PasswordNeeded", "Target", "bootstrap"]

SCRIPT = Path(__file__).parent / "deploy_user.sh"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What first contact came to. `key` is None where only the agent can use it."""

    hostname: str
    port: int
    user: str
    key: Path | None
    known_hosts: Path
    fingerprint: str
    changed: tuple[str, ...]
    public: str = ""  # of the key, as a line of authorized_keys

    def to_json(self) -> dict[str, Any]:
        key = str(self.key) if self.key else None
        return asdict(self) | {"key": key, "known_hosts": str(self.known_hosts)}


def bootstrap(
    target: Target,
    *,
    key: Path,
    known_hosts: Path,
    password: Password,
    accept: Callable[[str], bool],
    reinstalled: bool = False,
) -> Outcome:
    """Make a box ready to be deployed to; a second time, it changes nothing.

    `accept` is given the fingerprint of a host key that is not pinned yet and says whether it is
    the box's. `password`, where it is a function, is called once at most, and only if the key
    alone does not get to root. Raises HostKeyChanged, PasswordNeeded or DeeprigError.
    """
    pair = key_pair.read(key, ssh_config.of(target.hostname).agent)
    known = [entry.key for entry in pinned.entries(known_hosts, target.hostname)]
    shown = first_login.look(target, known)
    changed = host_key_trust.trust(target, known_hosts, shown, accept, reinstalled)
    ask = cache(password) if callable(password) else password
    way = _way_in(target, shown, pair, ask, met_before=shown in known)
    try:
        output = root_shell.run_as_root(way, _script(target, pair), ask)
    finally:
        way.transport.close()
    _prove(target, key, known_hosts)
    with suppress(DeeprigError):  # it is pinned; only the day that it was seen is not written down
        pinned.pin(known_hosts, target.hostname, target.port, shown)
    return Outcome(
        hostname=target.hostname,
        port=target.port,
        user=DEPLOY_USER,
        key=pair.file,
        known_hosts=known_hosts,
        fingerprint=shown.fingerprint,
        changed=(*changed, *re.findall(r"^changed: (.+)$", output, re.MULTILINE)),
        public=pair.public,
    )


def _way_in(
    target: Target, trusted: paramiko.PKey, pair: KeyPair, password: Password, *, met_before: bool
) -> Login:
    """A login that gets to root, without a password where there is such a one."""
    if met_before and (deployer := _deployer(target, trusted, pair)):
        return deployer
    first = first_login.log_in(target, trusted, pair.private, password)
    if not first.by_key or met_before or root_shell.is_free(first):
        return first
    deployer = _deployer(target, trusted, pair)
    if deployer:
        first.transport.close()
    return deployer or first


def _deployer(target: Target, trusted: paramiko.PKey, pair: KeyPair) -> Login | None:
    """The deploy user's login, if it is there and gets to root."""
    try:
        login = first_login.log_in(replace(target, user=DEPLOY_USER), trusted, pair.private, None)
    except PasswordNeeded:
        return None
    if root_shell.is_free(login):
        return login
    login.transport.close()
    return None


def _script(target: Target, pair: KeyPair) -> str:
    values = f"FIRST_USER={shlex.quote(target.user)}\nKEY={shlex.quote(pair.public)}\n"
    return f"{values}{people.functions()}\n{SCRIPT.read_text()}"


def _prove(target: Target, key: Path, known_hosts: Path) -> None:
    """A new login as the deploy user, the way pyinfra will do it, that gets to root."""
    door = connection.data(
        hostname=target.hostname,
        user=DEPLOY_USER,
        port=target.port,
        new_port=None,
        key=key,
        known_hosts=known_hosts,
    )
    try:
        client = connection.connect(door, port=target.port)
    except connection.NotLetIn:
        raise DeeprigError(
            f"{target} has the user {DEPLOY_USER} now but does not let it in with the key; look "
            "there at AllowUsers, AllowGroups and AuthorizedKeysFile in `sudo sshd -T`."
        ) from None
    with client:
        transport = client.get_transport()
        if transport is None or root_shell.run(transport, "sudo -n true").code != 0:
            raise DeeprigError(
                f"{target} lets {DEPLOY_USER} in but sudo still asks it for a password; look there "
                f"at `sudo -l -U {DEPLOY_USER}` for a later rule than /etc/sudoers.d/50-deeprig."
            )
