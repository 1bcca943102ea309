"""A door to a box that is as far away as one likes: `python -m bench.link MILLISECONDS HOST PORT`.

Two TUN devices, with a kernel's own TCP on either side of them, and this process carrying packets
from one to the other with half the delay each way. So windows, slow start, Nagle's algorithm and
delayed acknowledgements are real, which they are not behind a proxy that only waits. Needs root.
"""

import ctypes
import fcntl
import heapq
import json
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEAR, FAR = "10.99.7.1", "10.99.7.2"
DOOR = 2222
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def tun(name: str, here: str, there: str) -> int:
    """A TUN device in this thread's network namespace; it goes when its descriptor is closed."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        f"ip addr add {here} peer {there} dev {name}",
        f"ip link set {name} mtu 1500 up",
    ):
        subprocess.run(command.split(), check=True)
    os.set_blocking(device, False)
    return device


def far_side(make: Callable[[], Any]) -> Any:
    """What `make` makes in a network namespace of its own, where nothing else is."""
    made: list[Any] = []

    def work() -> None:  # a namespace is a thread's own, and so is the one it was in before
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace of its own; run as root")
        made.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


class Carrier:
    """Carries packets between two devices; each waits for its time."""

    def __init__(self, near: int, far: int, seconds: float) -> None:
        self.other = {near: far, far: near}
        self.seconds = seconds
        self.bytes = {near: 0, far: 0}
        self.turns = 0  # how often the near side spoke after it had heard something
        self._near, self._heard = near, False
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def carry(self) -> None:
        poll = select.poll()
        for device in self.other:
            poll.register(device, select.POLLIN)
        while True:
            left = self._waiting[0][0] - time.monotonic() if self._waiting else 1.0
            for device, _ in poll.poll(max(0.0, left) * 1000):
                self._take(device)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, device, packet = heapq.heappop(self._waiting)
                os.write(device, packet)

    def _take(self, device: int) -> None:
        while True:
            try:
                packet = os.read(device, 2000)
            except BlockingIOError:
                return
            self.bytes[device] += len(packet)
            if payload(packet):
                self.turns += device == self._near and self._heard
                self._heard = device != self._near
            self._count += 1
            due = time.monotonic() + self.seconds
            heapq.heappush(self._waiting, (due, self._count, self.other[device], packet))


def payload(packet: bytes) -> int:
    """How many bytes an IPv4 packet carries for TCP's user; an acknowledgement carries none."""
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return 0
    return int.from_bytes(packet[2:4]) - header - (packet[header + 12] >> 4) * 4


def pass_on(listener: socket.socket, target: tuple[str, int]) -> None:
    """What comes through the door goes on to the box, at once."""
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(target)
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def round_trip() -> float:
    """The real one, in seconds: how long a connection to the door takes to stand."""
    times = []
    for _ in range(7):
        started = time.monotonic()
        socket.create_connection((FAR, DOOR + 1)).close()
        times.append(time.monotonic() - started)
    return statistics.median(times)


def main(milliseconds: float, host: str, port: int) -> None:
    near = tun("bench-near", NEAR, FAR)

    def make_far() -> tuple[int, list[socket.socket]]:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        device = tun("bench-far", FAR, NEAR)
        return device, [socket.create_server((FAR, p), backlog=64) for p in (DOOR, DOOR + 1)]

    far, (door, echo) = far_side(make_far)
    carrier = Carrier(near, far, milliseconds / 2000)
    threading.Thread(target=carrier.carry, daemon=True).start()
    threading.Thread(target=pass_on, args=(door, (host, port)), daemon=True).start()
    threading.Thread(target=lambda: [echo.accept() for _ in range(7)], daemon=True).start()
    print(json.dumps({"host": FAR, "port": DOOR, "rtt_ms": round(round_trip() * 1000, 1)}))
    sys.stdout.flush()
    for _ in sys.stdin:  # each line asks for the counts so far; the end of input ends the link
        counts = {"out": carrier.bytes[near], "in": carrier.bytes[far], "turns": carrier.turns}
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    if not Path("/dev/net/tun").exists():
        sys.exit("There is no /dev/net/tun here; `modprobe tun`.")
    main(float(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
