"""The keys that a login tries, in OpenSSH's order: those named, then the agent's, then the usual.

paramiko's own way takes a key with a passphrase for a refusal, and knows one agent only.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from deeprig.ssh import private_keys
from deeprig.ssh.ssh_config import Entry, home

USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")


class LoginKeys:
    """An AuthStrategy of paramiko's for one box."""

    def __init__(self, hostname: str, user: str | None, key: str | None, entry: Entry) -> None:
        self._hostname, self._entry = hostname, entry
        self._user = user or getpass.getuser()
        self._key = Path(key).expanduser() if key else None
        self._locked: list[Path] = []

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Raises AuthenticationException with the reason where no key lets the user in."""
        tried = 0
        for key in self._keys():
            tried += 1
            try:
                more = transport.auth_publickey(self._user, key)
            except paramiko.BadAuthenticationType as error:
                raise paramiko.AuthenticationException(
                    f"its sshd takes no keys, but {' or '.join(error.allowed_types)}"
                ) from None
            except paramiko.AuthenticationException:
                continue
            if not transport.is_authenticated():
                raise paramiko.AuthenticationException(
                    f"this key is right, and it wants {' and '.join(more)} besides; deeprig logs "
                    "in by a key alone"
                )
            return
        raise paramiko.AuthenticationException(self._why(tried))

    def _why(self, tried: int) -> str:
        if self._locked:
            path = self._locked[0]
            return f"{path} has a passphrase and no agent holds it; run `ssh-add {path}`"
        if not tried:
            return "there is no key here; `ssh-add` one, or name its file with box(key=...)"
        return f"this key does not open it; run `deeprig bootstrap {self._hostname}`"

    def _keys(self) -> Iterator[paramiko.PKey]:
        held = in_agent(self._entry.agent)
        only = self._key is not None or self._entry.identities_only
        named = [self._key] if self._key else list(self._entry.identities)
        used: set[bytes] = set()
        for file in named:
            for key in self._of(file, held):
                used.add(key.asbytes())
                yield key
        if only:
            return
        yield from (key for key in held if key.asbytes() not in used)
        for name in USUAL if not named else ():
            yield from self._of(home() / ".ssh" / name, [])

    def _of(self, file: Path, held: list[paramiko.PKey]) -> Iterator[paramiko.PKey]:
        """The key of this file: read from it, or else the agent's; with its certificate, if any."""
        if not file.is_file():
            return
        try:
            key = private_keys.load(file)
        except paramiko.PasswordRequiredException:
            public = private_keys.public_of(file)
            keys = [one for one in held if public.startswith(private_keys.line(one))]
            if not keys:
                self._locked.append(file)
            yield from keys
            return
        except (private_keys.Unusable, OSError):
            return  # it is none that paramiko reads
        yield key
        certificate = file.with_name(f"{file.name}-cert.pub")
        if certificate.is_file():
            signed = private_keys.load(file)
            signed.load_certificate(str(certificate))
            yield signed


def in_agent(socket: str = "") -> list[paramiko.PKey]:
    """What the agent at this socket holds and can be used, or the usual agent; "none" for none."""
    if socket == "none":
        return []
    try:
        with _socket(socket):
            keys = paramiko.Agent().get_keys()
    except (paramiko.SSHException, OSError):
        return []
    # A FIDO key is none that paramiko can use, and breaks its login (paramiko#2462).
    return [key for key in keys if not key.get_name().startswith(private_keys.HARDWARE)]


@contextmanager
def _socket(path: str) -> Iterator[None]:
    """paramiko asks the agent that the environment names, and no other."""
    before = os.environ.get("SSH_AUTH_SOCK")
    if path:
        os.environ["SSH_AUTH_SOCK"] = path
    try:
        yield
    finally:
        if path and before is None:
            del os.environ["SSH_AUTH_SOCK"]
        elif path and before is not None:
            os.environ["SSH_AUTH_SOCK"] = before
