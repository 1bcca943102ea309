"""SSH to a box: host keys always checked, packets sent at once, a dead link given up."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra import logger

from deeprig import known_hosts as pinned
from deeprig import screen
from deeprig.channel_files import lenient
from deeprig.errors import DeeprigError
from fast_ssh import sending

# A link is dead when nothing is acknowledged for this long; the run ends in one sentence then.
DEAD_LINK_SECONDS = 12
CONNECT_SECONDS = 10
FAST = "@fast/"  # the connector in fast_ssh/
SocketOption = tuple[int, int, int]


class OtherHostKey(DeeprigError):
    """Who answers is not who was pinned."""


def _options() -> list[SocketOption]:
    """What this system can be told about a TCP connection; macOS lacks some of Linux's names."""
    wanted = {
        "TCP_NODELAY": 1,  # paramiko leaves it off: 45 ms for each command
        "TCP_KEEPIDLE": 3,
        "TCP_KEEPALIVE": 3,  # what macOS calls TCP_KEEPIDLE
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": DEAD_LINK_SECONDS // 3,
        "TCP_USER_TIMEOUT": DEAD_LINK_SECONDS * 1000,
    }
    found = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in wanted.items()
        if hasattr(socket, name)
    ]
    return [*found, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


class Transport(sending.Transport):
    """Says what to do where pyinfra would only say what went wrong."""

    hostname = "HOST"

    def open_channel(self, *args: Any, **options: Any) -> paramiko.Channel:
        """As ever, but a link that is gone is an SSH error, which pyinfra tells in one line; and
        so is nothing that a box prints.
        """
        try:
            return lenient(super().open_channel(*args, **options))
        except EOFError:
            raise paramiko.SSHException(f"the link to {self.hostname} is gone") from None

    def complain(self, why: str) -> None:
        """Said at once: who waits for the answer learns only that the command failed."""
        logger.error(f"{self.hostname}: {why}; nothing more is read from it.")

    def auth_publickey(self, *args: Any, **options: Any) -> list[str]:
        try:
            return super().auth_publickey(*args, **options)
        except paramiko.AuthenticationException:
            raise paramiko.AuthenticationException(
                f"this key does not open it; run `deeprig bootstrap {self.hostname}`"
            ) from None


def transport_factory(sock: Any, **options: Any) -> Transport:
    """A paramiko transport that sends at once and gives up on a dead link."""
    if hasattr(sock, "setsockopt"):  # the channel of a jump host is no socket
        for level, name, value in _options():
            sock.setsockopt(level, name, value)
    return Transport(sock, **options)


def _factory(hostname: str, port: int, known_hosts: Path) -> Callable[..., Transport]:
    """transport_factory for one box, refusing a door that was never pinned."""

    def make(sock: Any, **options: Any) -> Transport:
        if not pinned.keys_of(known_hosts, hostname, port):
            raise paramiko.SSHException(
                f"no host key of it is in {known_hosts}; run `deeprig bootstrap {hostname}`"
            )
        transport = transport_factory(sock, **options)
        transport.hostname = hostname
        return transport

    return make


def data(
    *,
    hostname: str,
    user: str,
    port: int,
    new_port: int | None,
    key: Path | None,
    known_hosts: Path,
) -> dict[str, Any]:
    """pyinfra's host data for one box.

    A door stands in known_hosts only once somebody has gone through it, so that file says which
    port to dial: the wanted one if it has been proved, until then the one from before.
    """
    proved = new_port is not None and pinned.find(known_hosts, hostname, new_port) is not None
    door = new_port if new_port and proved else port
    screen.guard()  # whoever is about to talk with boxes
    return {
        "ssh_hostname": hostname,
        "ssh_user": user,
        "ssh_port": door,
        "bootstrap_port": port,  # where it listens again once it has been reinstalled
        **({"ssh_key": str(key)} if key else {}),
        "ssh_known_hosts_file": str(known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "fast_questions": str(known_hosts.with_name("questions")),
        "ssh_paramiko_connect_kwargs": {"transport_factory": _factory(hostname, door, known_hosts)},
    }


def target(name: str, kind: str) -> str:
    """What pyinfra calls a box that is reached like this: a connector goes before the name."""
    return f"{FAST}{name}" if kind == "fast" and not name.startswith("@") else name


def connect(
    host_data: dict[str, Any],
    *,
    port: int | None = None,
    factory: Callable[..., paramiko.Transport] = transport_factory,
) -> paramiko.SSHClient:
    """A new login on a box of the inventory, through the same checks as pyinfra's own.

    `port` dials another door than the inventory's; `factory` makes the transport, of a socket. The
    host key must be the pinned one whatever the port. Raises DeeprigError with the reason when
    there is no login.
    """
    hostname, user = host_data["ssh_hostname"], host_data.get("ssh_user")
    known_hosts = Path(host_data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts").expanduser()
    usual_port = int(host_data.get("ssh_port") or 22)
    dialled = port or usual_port
    keys = pinned.keys_of(known_hosts, hostname, dialled) or pinned.keys_of(
        known_hosts, hostname, usual_port
    )
    if not keys:
        raise DeeprigError(
            f"{hostname} has no host key in {known_hosts}; "
            f"pin it with `deeprig bootstrap {hostname}`."
        )
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for host_key in keys:
        client.get_host_keys().add(pinned.label(hostname, dialled), host_key.get_name(), host_key)
    try:
        client.connect(
            hostname,
            port=dialled,
            username=user,
            key_filename=host_data.get("ssh_key"),
            look_for_keys=host_data.get("ssh_key") is None,
            allow_agent=host_data.get("ssh_key") is None,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            transport_factory=factory,
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        client.close()
        other = isinstance(error, paramiko.BadHostKeyException)
        kind = OtherHostKey if other else DeeprigError
        raise kind(_why_not(error, hostname, dialled, user)) from None
    return client


def _why_not(error: Exception, hostname: str, port: int, user: str | None) -> str:
    where = f"{hostname} port {port}"
    if isinstance(error, paramiko.BadHostKeyException):
        return (
            f"{where} shows another host key than the pinned one; if it was reinstalled run "
            f"`deeprig bootstrap {hostname} --reinstalled`, otherwise find out who answers there."
        )
    if isinstance(error, paramiko.AuthenticationException):
        return f"{where} does not let {user} in with this key; run `deeprig bootstrap {hostname}`."
    if "No authentication methods" in str(error):  # no key file, and nothing in the agent
        return f"there is no key for {where}; `ssh-add` one, or name its file with box(key=...)."
    if isinstance(error, NoValidConnectionsError):  # one error for each address of the name
        error = next(iter(error.errors.values()))
    return f"{where} does not answer ({error or type(error).__name__}); is it on, is the cable in?"


def is_dead(client: paramiko.SSHClient | None) -> bool:
    """True where a login once stood and its link has gone."""
    transport = client.get_transport() if client else None
    return transport is not None and not transport.is_active()


def objections(host_data: dict[str, Any]) -> list[str]:
    """Why a box reached like this must not be hardened: the way in would be closed behind us."""
    if host_data.get("ssh_password"):
        return [
            "deeprig turns password logins off, and this inventory logs in with one; run "
            f"`deeprig bootstrap {host_data.get('ssh_hostname')}` and drop ssh_password."
        ]
    return []
