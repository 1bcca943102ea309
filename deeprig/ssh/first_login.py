"""The very first login on a box: its host key looked at, then a key or a password tried."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

import paramiko

from deeprig.errors import DeeprigError
from deeprig.ssh import connection, dial

NO_WAY_THERE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
# A person may be typing meanwhile; sshd itself hangs up after two minutes (LoginGraceTime).
Password = str | Callable[[], str] | None


class PasswordNeeded(DeeprigError):
    """The box wants a password, and there is none to give."""


@dataclass(frozen=True)
class Target:
    """Where a box listens, and who exists there before deeprig has been."""

    hostname: str
    port: int = 22
    user: str = "ai"

    def __str__(self) -> str:
        return f"{self.hostname} port {self.port}"


@dataclass(frozen=True)
class Login:
    """An open connection; `by_key` is False where it took a password."""

    transport: paramiko.Transport
    target: Target
    by_key: bool


def look(target: Target, known: list[paramiko.PKey]) -> paramiko.PKey:
    """The host key a box shows: of a type in `known` if it has such, else ed25519 first."""
    transport = _open(target, known)
    try:
        return transport.get_remote_server_key()
    finally:
        transport.close()


def log_in(target: Target, trusted: paramiko.PKey, key: paramiko.PKey, password: Password) -> Login:
    """A login by key, or else by password, on a box that shows the `trusted` host key.

    Both are tried on one connection: sshd counts those that close without a login, and locks an
    address out after a few. Raises PasswordNeeded or DeeprigError.
    """
    transport = _open(target, [trusted])
    try:
        if transport.get_remote_server_key() != trusted:
            raise DeeprigError(
                f"{target} shows one host key now and another then; do not trust it."
            )
        return Login(transport, target, by_key=_authenticate(transport, target, key, password))
    except BaseException as error:
        transport.close()
        if isinstance(error, paramiko.AuthenticationException):
            raise DeeprigError(
                f"{target} refused this password for {target.user}; check the name (--user), the "
                "password, and that sshd takes passwords at all."
            ) from None
        if isinstance(error, (paramiko.SSHException, EOFError, OSError)):
            raise DeeprigError(_unreachable(target, error)) from None
        raise


def _authenticate(
    transport: paramiko.Transport, target: Target, key: paramiko.PKey, password: Password
) -> bool:
    """Whether the key did it; the password did otherwise."""
    try:
        more = transport.auth_publickey(target.user, key)
        if transport.is_authenticated():
            return True
        if "password" not in more or password is None:
            raise DeeprigError(
                f"{target} takes {target.user}'s key and wants {' and '.join(more)} besides; "
                "deeprig logs in by a key alone: except this user there (AuthenticationMethods)."
            )
    except paramiko.AuthenticationException:
        if password is None:
            raise PasswordNeeded(
                f"{target} does not let {target.user} in with this key; give the password once."
            ) from None
    transport.auth_password(target.user, password if isinstance(password, str) else password())
    return False


def _open(target: Target, preferred: list[paramiko.PKey]) -> paramiko.Transport:
    try:
        sock = dial.to(target.hostname, target.port)
        transport = connection.transport_factory(sock)
        connection.prefer(transport, preferred)
        transport.banner_timeout = transport.auth_timeout = dial.CONNECT_SECONDS
        transport.start_client(timeout=dial.CONNECT_SECONDS)
        if not transport.initial_kex_done:  # paramiko just returns where the time is over
            transport.close()
            raise TimeoutError
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise DeeprigError(_unreachable(target, error)) from None
    return transport


def _unreachable(target: Target, error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return (
            f"{target.hostname} is no name that resolves here, and no Host of your ssh "
            "configuration; check it, or give the address."
        )
    if isinstance(error, dial.NoWay):
        return (
            f"{target} is not reached {error}; `ssh {target.hostname}` must get as far as the "
            "box's own login here, and ask nothing before."
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{target} refuses connections; is sshd installed there, is the port right (--port)?"
    if isinstance(error, TimeoutError) or getattr(error, "errno", 0) in NO_WAY_THERE:
        return f"{target} does not answer; is it on, is the cable in, is the address right?"
    return (
        f"{target} hung up ({error or type(error).__name__}); if a few logins failed before, sshd "
        "refuses this machine for a minute: wait, then try again."
    )
