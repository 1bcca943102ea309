"""SSH to a box: host keys always checked, packets sent at once, a dead link given up.

Every login of every verb, and pyinfra's, is by this module, and every socket by `dial`.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko
from pyinfra import logger
from pyinfra.connectors.sshuserclient.client import get_host_keys

from deeprig.errors import DeeprigError
from deeprig.ssh import asker, dial, ssh_config
from deeprig.ssh import known_hosts as pinned
from deeprig.ssh.channel_files import lenient
from deeprig.ssh.dial import NoWay, Proxied, Socket
from deeprig.ssh.login_keys import LoginKeys
from deeprig.ssh.private_keys import is_locked
from deeprig.ui import screen, terminal
from fast_ssh import sending

# A link is dead when nothing is acknowledged for this long; the run ends in one sentence then.
DEAD_LINK_SECONDS = 12
# Behind another host it is the sshd that answers, which may be slow where a kernel is not.
ASK_SECONDS, SILENT_SECONDS = 10, 60
FAST = "@fast/"  # the connector in fast_ssh/
SocketOption = tuple[int, int, int]


class OtherHostKey(DeeprigError):
    """Who answers is not who was pinned."""


class NotLetIn(DeeprigError):
    """The right box answers, and takes none of the keys."""


def _options() -> list[SocketOption]:
    """What this system can be told about a TCP connection; macOS lacks some of Linux's names."""
    values = {
        "TCP_NODELAY": 1,  # paramiko leaves it off: 45 ms for each command
        "TCP_KEEPIDLE": 3,
        "TCP_KEEPALIVE": 3,  # what macOS calls TCP_KEEPIDLE
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": DEAD_LINK_SECONDS // 3,
        "TCP_USER_TIMEOUT": DEAD_LINK_SECONDS * 1000,
    }
    known = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in values.items()
        if hasattr(socket, name)
    ]
    return [*known, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


class Transport(sending.Transport):
    """Says what to do where pyinfra would only say what went wrong."""

    hostname = "HOST"
    door = 22  # the port that was dialled

    def start_client(self, *args: Any, **options: Any) -> None:
        """As ever; where something else leads to the box, with what that said."""
        try:
            super().start_client(*args, **options)
        except (paramiko.SSHException, EOFError, OSError):
            if not isinstance(self.sock, Proxied):
                raise
            raise paramiko.SSHException(self.sock.why) from None

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


def transport_factory(sock: Any, **options: Any) -> Transport:
    """A paramiko transport that sends at once and gives up on a dead link."""
    transport = Transport(sock, **options)
    if isinstance(sock, Proxied):
        threading.Thread(target=_ask_whether_it_lives, args=(transport,), daemon=True).start()
    elif hasattr(sock, "setsockopt"):
        for level, name, value in _options():
            sock.setsockopt(level, name, value)
    return transport


def _ask_whether_it_lives(transport: paramiko.Transport) -> None:
    """What TCP sees by itself on a direct way: that nothing is acknowledged any more."""
    while True:
        time.sleep(ASK_SECONDS)
        if not transport.is_active():
            return
        if not transport.is_authenticated():
            continue
        given_up = threading.Timer(SILENT_SECONDS, transport.close)
        given_up.daemon = True
        given_up.start()
        transport.global_request("keepalive@openssh.com", wait=True)
        given_up.cancel()


class Options(dict[str, Any]):
    """paramiko's options for a login on one box, made anew each time that pyinfra takes them all.

    So a connector of pyinfra's is led to the box, and logs in there, as `connect` does it. A dict
    since pyinfra wants one; with an __iter__ of its own, else keys() would not be asked.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(transport_factory=transport_factory)
        self._data = data

    def keys(self) -> Any:
        """What dict.update() begins with."""
        # A door that was proved a moment ago is in the file, and not in what pyinfra has read.
        get_host_keys.cache.clear()
        try:
            self.update(options(self._data))
        except DeeprigError as error:
            raise paramiko.SSHException(str(error)) from None
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        return iter(super().keys())


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
    port to dial: the one proved last, and the others where that one is closed now.
    """
    proved = pinned.doors(known_hosts, hostname, port, new_port)
    doors = tuple(dict.fromkeys([*proved, port, *([new_port] if new_port else [])]))
    screen.guard()  # whoever is about to talk with boxes
    terminal.guard()
    made: dict[str, Any] = {
        "ssh_hostname": hostname,
        "ssh_user": user,
        "ssh_port": doors[0],
        "ssh_doors": doors,
        "ssh_named": (port, new_port),
        "bootstrap_port": port,  # where it listens again once it has been reinstalled
        **_key(key),
        "ssh_known_hosts_file": str(known_hosts),
        "ssh_strict_host_key_checking": "yes",
        # What it says is in the options below, as OpenSSH reads it; pyinfra reads it otherwise.
        "ssh_config_file": os.devnull,
        "fast_questions": str(known_hosts.with_name("questions")),
        "fast_asker": asker.version(),
    }
    return made | {"ssh_paramiko_connect_kwargs": Options(made)}


def _key(key: Path | None) -> dict[str, str]:
    """Under a name of ours where only the agent can use it: pyinfra would ask for its passphrase"""
    if key is None:
        return {}
    return {"agent_key" if is_locked(key) else "ssh_key": str(key)}


def key_of(host_data: dict[str, Any]) -> str | None:
    """The private key that the inventory names for a box, whoever can use it."""
    return host_data.get("ssh_key") or host_data.get("agent_key")


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

    `port` dials that door and no other; `factory` makes the transport, of a socket. The host key
    must be the pinned one whatever the port. Raises DeeprigError with the reason when there is no
    login.
    """
    made = options(host_data, port=port, factory=factory)
    hostname, door, user = host_data["ssh_hostname"], made["port"], host_data.get("ssh_user")
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for host_key in host_keys(host_data, door):
        client.get_host_keys().add(pinned.label(hostname, door), host_key.get_name(), host_key)
    try:
        client.connect(hostname, username=user, **made)
    except (paramiko.SSHException, OSError, EOFError) as error:
        client.close()
        made["sock"].close()
        kinds = {
            paramiko.BadHostKeyException: OtherHostKey,
            paramiko.AuthenticationException: NotLetIn,
        }
        kind = next((ours for of, ours in kinds.items() if isinstance(error, of)), DeeprigError)
        raise kind(_why_not(error, hostname, door, user)) from None
    return client


def options(
    host_data: dict[str, Any],
    *,
    port: int | None = None,
    factory: Callable[..., paramiko.Transport] = transport_factory,
) -> dict[str, Any]:
    """What paramiko is told for one login: an open way to the box, and the keys to try.

    Raises DeeprigError where the box is not known, or does not answer.
    """
    entry = entry_of(host_data)
    check_known(host_data, port)
    sock, door = _way(entry, host_data, [port] if port else list(doors(host_data)))

    def make(sock: Any, **more: Any) -> paramiko.Transport:
        transport = factory(sock, **more)
        prefer(transport, host_keys(host_data, door))
        if isinstance(transport, Transport):
            transport.hostname, transport.door = host_data["ssh_hostname"], door
        return transport

    return {
        "sock": sock,
        "port": door,
        "transport_factory": make,
        "auth_strategy": LoginKeys(
            host_data["ssh_hostname"], host_data.get("ssh_user"), key_of(host_data), entry
        ),
        "timeout": dial.CONNECT_SECONDS,
        "banner_timeout": dial.CONNECT_SECONDS,
        "auth_timeout": dial.CONNECT_SECONDS,
    }


def prefer(transport: paramiko.Transport, known: Iterable[paramiko.PKey]) -> None:
    """Ask for a host key that is known, where the box has several.

    paramiko puts the known key's name first: of an RSA key that is the signature by SHA-1, which no
    sshd makes any more, so it would take another key of the box and call that a wrong one.
    """
    signatures = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}
    preferred = {
        each for key in known for each in signatures.get(key.get_name(), (key.get_name(),))
    }
    options = transport.get_security_options()
    options.key_types = sorted(options.key_types, key=lambda name: name not in preferred)


def entry_of(host_data: dict[str, Any]) -> ssh_config.Entry:
    """What the owner's ssh configuration says of a box. Raises DeeprigError where it is broken."""
    return ssh_config.of(host_data["ssh_hostname"])


def doors(host_data: dict[str, Any]) -> tuple[int, ...]:
    """The ports to dial, the one proved last first."""
    first = int(host_data.get("ssh_port") or 22)
    return tuple(dict.fromkeys([first, *host_data.get("ssh_doors", ())]))


def door_of(client: paramiko.SSHClient | None, host_data: dict[str, Any]) -> int:
    """The port through which this login came."""
    transport = client.get_transport() if client else None
    return transport.door if isinstance(transport, Transport) else doors(host_data)[0]


def pins_of(host_data: dict[str, Any]) -> Path:
    """The file that the box's host key is pinned in."""
    return Path(host_data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts").expanduser()


def check_known(host_data: dict[str, Any], port: int | None = None) -> None:
    """Raise DeeprigError where no login could ever work, since no host key is pinned."""
    hostname = host_data["ssh_hostname"]
    if not host_keys(host_data, port or doors(host_data)[0]):
        raise DeeprigError(
            f"{hostname} has no host key in {pins_of(host_data)}; "
            f"pin it with `deeprig bootstrap {hostname}`."
        )


def host_keys(host_data: dict[str, Any], port: int) -> list[paramiko.PKey]:
    """Those of that door; where it was never gone through, those of the box's other doors."""
    pins, hostname = pins_of(host_data), host_data["ssh_hostname"]
    of_each = (pinned.keys_of(pins, hostname, door) for door in (port, *doors(host_data)))
    return next((keys for keys in of_each if keys), [])


def _way(
    entry: ssh_config.Entry, host_data: dict[str, Any], ports: list[int]
) -> tuple[Socket, int]:
    """An open way to the first of these ports that answers, and that port."""
    hostname = host_data["ssh_hostname"]
    failed: list[tuple[int, OSError]] = []
    for port in ports:
        try:
            sock = dial.by(entry, port, host_data.get("ssh_user"))
        except socket.gaierror as error:
            raise DeeprigError(why_no_way(error, hostname, port)) from None
        except OSError as error:
            failed.append((port, error))
            continue
        if failed or port not in host_data.get("ssh_named", (port,)):
            _tell_door(host_data, port, failed)
        return sock, port
    others = ", ".join(f"nor port {each} ({_said(why)})" for each, why in failed[1:])
    raise DeeprigError(why_no_way(failed[0][1], hostname, failed[0][0], others))


def _tell_door(host_data: dict[str, Any], door: int, failed: list[tuple[int, OSError]]) -> None:
    """Which port was dialled and why, where the inventory says another."""
    closed = " and ".join(f"port {port} does not answer ({_said(why)})" for port, why in failed)
    reason = closed or "a login was proved there last, and the inventory names no such port"
    _tell(f"{host_data['ssh_hostname']} is dialled at port {door}: {reason}.")


def open_door(host_data: dict[str, Any]) -> int:
    """The port that answers, for a program that dials by itself; the first where none does."""
    ports = list(doors(host_data))
    if len(ports) > 1:
        with suppress(DeeprigError):
            sock, port = _way(entry_of(host_data), host_data, ports)
            sock.close()
            return port
    return ports[0]


_TOLD: set[str] = set()


def told() -> frozenset[str]:
    """What was said of the doors in this run."""
    return frozenset(_TOLD)


def _tell(sentence: str) -> None:
    """Once in a run, however often it is so."""
    if sentence not in _TOLD:
        _TOLD.add(sentence)
        screen.echo(sentence, err=True)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not isinstance(error, NoWay):
        return "timed out"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _why_not(error: Exception, hostname: str, port: int, user: str | None) -> str:
    where = f"{hostname} port {port}"
    if isinstance(error, paramiko.BadHostKeyException):
        return (
            f"{where} shows another host key than the pinned one; if it was reinstalled run "
            f"`deeprig bootstrap {hostname} --reinstalled`, otherwise find out who answers there."
        )
    if isinstance(error, paramiko.AuthenticationException):
        return f"{where} does not let {user} in: {error}."
    return why_no_way(error, hostname, port)


def why_no_way(error: Exception, hostname: str, port: int, others: str = "") -> str:
    """Why a box is not reached, and what to do; `others` is what is to be said of other ports."""
    if isinstance(error, socket.gaierror):
        return (
            f"{hostname} is no name that resolves here, and no Host of your ssh configuration; "
            "give its address: box(hostname=)."
        )
    where = f"{hostname} port {port}"
    more = f", {others}" if others else ""
    if isinstance(error, NoWay):
        remedy = "is it on, is the cable in?"
        if error.before_it:
            remedy = "`ssh` to that host must work here without a question."
        return f"{where} is not reached {error}{more}; {remedy}"
    return f"{where} does not answer ({_said(error)}{more}); is it on, is the cable in?"


def patience(link: paramiko.Transport | None) -> int:
    """After how many seconds of silence a link is given up."""
    return SILENT_SECONDS if isinstance(getattr(link, "sock", None), Proxied) else (
        DEAD_LINK_SECONDS
    )  # fmt: skip


def dead_link(client: paramiko.SSHClient | None) -> paramiko.Transport | None:
    """The link of a login that once stood, where it has gone."""
    link = client.get_transport() if client else None
    return link if link and not link.is_active() else None


def twins(boxes: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """The names of entries that are one box, since they have one address and one port."""
    met: dict[tuple[str, int], str] = {}
    pairs = []
    for name, host_data in boxes:
        hostname = str(host_data.get("ssh_hostname") or name)
        address = str(host_data.get("ssh_leads_to") or hostname).lower()
        door = address, int(host_data.get("bootstrap_port") or host_data.get("ssh_port") or 22)
        if door in met:
            pairs.append((met[door], name))
        met.setdefault(door, name)
    return pairs


def twins_said(pair: tuple[str, str]) -> str:
    """What is wrong with two entries of one box."""
    return (
        f"{pair[0]} and {pair[1]} have one address and port: each would undo what the other did; "
        "leave one out, or give each its own box(hostname=) or box(port=)."
    )


def objections(host_data: dict[str, Any]) -> list[str]:
    """Why a box reached like this must not be hardened: the way in would be closed behind us."""
    if host_data.get("ssh_password"):
        return [
            "deeprig turns password logins off, and this inventory logs in with one; run "
            f"`deeprig bootstrap {host_data.get('ssh_hostname')}` and drop ssh_password."
        ]
    return []
