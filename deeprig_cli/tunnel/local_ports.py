"""Ports on this machine's loopback: which are free, which answer."""

import http.client
import socket
from collections.abc import Iterable

from deeprig.errors import DeeprigError
from deeprig.ssh.openssh import LOOPBACK

ANSWER_SECONDS = 5


def choose(wanted: Iterable[int]) -> list[int]:
    """For each wanted port that one if it is free, else the next free one above it."""
    chosen: list[int] = []
    for first in wanted:
        candidates = (port for port in range(first, 65536) if port not in chosen)
        port = next((port for port in candidates if _is_free(port)), None)
        if port is None:
            raise DeeprigError(f"no port from {first} upwards is free here; end what holds them.")
        chosen.append(port)
    return chosen


def answers(port: int, path: str) -> bool:
    """Whether a web server answers there with a page, not with where else to look for it."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As ssh itself does: a port whose last user has just gone is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
            sock.listen(1)
        except OSError:
            return False
    return True
