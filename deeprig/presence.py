"""Whether a box is there: nothing answers, its kernel does, SSH does, a login works."""

import socket
from enum import Enum
from pathlib import Path
from typing import Any

from deeprig import connection
from deeprig import known_hosts as pinned
from deeprig.connection import OtherHostKey
from deeprig.errors import DeeprigError

LOOK_SECONDS = 3


class Seen(Enum):
    """How far one comes; CLOSED where a kernel answers and no sshd, as in a boot or a shutdown."""

    NOTHING = "nothing answers"
    CLOSED = "it answers, SSH does not yet"
    OPEN = "SSH answers"


def address(host_data: dict[str, Any]) -> tuple[str, int]:
    """Where the box's sshd is dialled."""
    return host_data["ssh_hostname"], int(host_data.get("ssh_port") or 22)


def look(host_data: dict[str, Any]) -> Seen:
    """By opening and closing one TCP connection. Raises DeeprigError for no name at all."""
    hostname, port = address(host_data)
    try:
        socket.create_connection((hostname, port), timeout=LOOK_SECONDS).close()
    except ConnectionRefusedError:
        return Seen.CLOSED
    except socket.gaierror:
        raise DeeprigError(
            f"{hostname} is no name that resolves here; give its address: box(hostname=)."
        ) from None
    except OSError:
        return Seen.NOTHING
    return Seen.OPEN


def why_no_login(host_data: dict[str, Any]) -> str:
    """Empty once a real login works. Raises OtherHostKey where somebody else answers."""
    try:
        connection.connect(host_data).close()
    except OtherHostKey:
        raise
    except DeeprigError as error:
        return str(error)
    return ""


def check_known(host_data: dict[str, Any]) -> None:
    """Raise DeeprigError where no login could ever work, since no host key is pinned."""
    hostname, port = address(host_data)
    pins = Path(host_data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts").expanduser()
    if not pinned.keys_of(pins, hostname, port):
        raise DeeprigError(
            f"{hostname} has no host key in {pins}; pin it with `deeprig bootstrap {hostname}`."
        )
