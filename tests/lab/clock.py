"""A stand-in for a time server: this machine's clock by NTP (RFC 5905), for boxes of the lab."""

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingUDPServer

from lab import network

SINCE_1900 = 2_208_988_800  # seconds from NTP's era to 1970
SERVER_4, STRATUM, POLL, PRECISION = 0x24, 2, 6, -20


def stamp(seconds: float) -> bytes:
    """A time as NTP has it: 32 bits of seconds since 1900, and 32 of their fraction."""
    return struct.pack("!II", int(seconds) + SINCE_1900, int(seconds % 1 * 2**32))


class Answer(BaseRequestHandler):
    def handle(self) -> None:
        asked, socket = self.request
        now = stamp(time.time())
        head = struct.pack("!BBbb", SERVER_4, STRATUM, POLL, PRECISION)
        root = struct.pack("!II4s", 0, 1 << 10, b"LAB\0")
        socket.sendto(head + root + now + asked[40:48] + now + now, self.client_address)


@contextmanager
def serving() -> Iterator[str]:
    """Its address, as long as there is a box."""
    with ThreadingUDPServer((network.THIS_MACHINE, 123), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield network.THIS_MACHINE
        server.shutdown()
