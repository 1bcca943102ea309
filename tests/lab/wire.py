"""Magic packets as they pass a device of the lab's router; run there it prints them.

A stand-in for a network card that wakes its box: it looks at the bytes, the test powers on.
"""

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import IO, NamedTuple

EVERY_PROTOCOL = 3
BY_IP, MAGIC = 0x0800, 0x0842


class Frame(NamedTuple):
    """One that carries a magic packet; what IP and UDP say is empty for Ethernet's own."""

    to: str
    protocol: int
    source: str
    target: str
    port: int
    payload: bytes


class Wire:
    """What passes there from now on."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self._lines.put(line)

    def next(self, seconds: float) -> Frame | None:
        """The next magic packet; None where none comes in time."""
        try:
            return decode(bytes.fromhex(self._lines.get(timeout=seconds)))
        except queue.Empty:
            return None

    def all(self, seconds: float) -> list[Frame]:
        """All that come within that time."""
        end, found = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            if frame := self.next(left):
                found.append(frame)
        return found


@contextmanager
def listen(router: str, device: str) -> Iterator[Wire]:
    """At a device in the router's network namespace."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", router, sys.executable, "-u", __file__, device],
        stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    assert process.stdout
    try:
        assert process.stdout.readline() == "listening\n"
        yield Wire(process.stdout)
    finally:
        process.kill()
        process.wait()


def decode(frame: bytes) -> Frame:
    to, protocol = frame[:6].hex(":"), int.from_bytes(frame[12:14])
    if protocol != BY_IP:
        return Frame(to, protocol, "", "", 0, frame[14:])
    header = (frame[14] & 15) * 4
    assert frame[14 + 9] == socket.IPPROTO_UDP
    ip, udp = frame[14:], frame[14 + header :]
    source, target = (str(IPv4Address(ip[at : at + 4])) for at in (12, 16))
    length = int.from_bytes(udp[4:6])
    return Frame(to, protocol, source, target, int.from_bytes(udp[2:4]), udp[8:length])


def is_magic(frame: bytes) -> bool:
    """Whether an armed card would wake its box: six times FF, sixteen times an address."""
    start = frame.find(b"\xff" * 6, 14)
    mac = frame[start + 6 : start + 12]
    return start > 0 and len(mac) == 6 and frame[start + 6 : start + 102] == mac * 16


def main(device: str) -> None:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    wire.bind((device, 0))
    print("listening", flush=True)
    while True:
        frame = wire.recv(2000)
        if is_magic(frame):
            print(frame.hex(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
