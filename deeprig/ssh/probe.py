"""Whether a box is there: nothing answers, its kernel does, SSH does, a login works."""

import socket
from enum import Enum
from typing import Any

from deeprig.errors import DeeprigError
from deeprig.ssh import connection, dial
from deeprig.ssh.connection import OtherHostKey
from deeprig.ssh.dial import NoWay

LOOK_SECONDS = 3


class Reachability(Enum):
    """How far one comes; CLOSED where a kernel answers and no sshd, as in a boot or a shutdown."""

    NOTHING = "nothing answers"
    CLOSED = "it answers, SSH does not yet"
    OPEN = "SSH answers"


def probe(host_data: dict[str, Any]) -> Reachability:
    """By opening and closing a connection to each of its doors. Raises DeeprigError for no name,
    and where what leads to the box does not let us through.
    """
    best = Reachability.NOTHING
    for port in connection.doors(host_data):
        seen = _look(host_data, port)
        if seen is Reachability.OPEN:
            return seen
        best = best if seen is Reachability.NOTHING else seen
    return best


def _look(host_data: dict[str, Any], port: int) -> Reachability:
    hostname = host_data["ssh_hostname"]
    try:
        entry = connection.entry_of(host_data)
        dial.by(entry, port, host_data.get("ssh_user"), seconds=LOOK_SECONDS).close()
    except ConnectionRefusedError:
        return Reachability.CLOSED
    except OSError as error:
        if isinstance(error, socket.gaierror) or (isinstance(error, NoWay) and error.before_it):
            raise DeeprigError(connection.why_no_way(error, hostname, port)) from None
        return Reachability.NOTHING
    return Reachability.OPEN


def why_no_login(host_data: dict[str, Any]) -> str:
    """Empty once a real login works. Raises OtherHostKey where somebody else answers."""
    try:
        connection.connect(host_data).close()
    except OtherHostKey:
        raise
    except DeeprigError as error:
        return str(error)
    return ""
