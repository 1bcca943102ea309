"""Wait for a port on loopback to be free, take it, and keep what is sent there.

squats.py FOLDER PORT SECONDS. FOLDER/squats.log says when the port was had ("had"), and then each
first piece that came in; every one is answered as a server that has no kernels.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
MOST_TRIES, MOST_GUESTS = 200_000, 500


def main(folder: str, port: int, seconds: float) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    log = Path(folder, "squats.log")
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    end, tries, guests = time.monotonic() + seconds, 0, 0
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    had = False
    while time.monotonic() < end and tries < MOST_TRIES and not stop and not had:
        tries += 1
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(50)
            had = True
        except OSError:
            time.sleep(0.001)
    note(log, {"tries": tries, **({"had": True} if had else {})})
    listening.settimeout(0.2)
    while had and time.monotonic() < end and guests < MOST_GUESTS and not stop:
        try:
            guest, _ = listening.accept()
        except TimeoutError:
            continue
        guests += 1
        guest.settimeout(2)
        try:
            piece = guest.recv(4096)
            guest.sendall(ANSWER)
        except OSError:
            piece = b""
        guest.close()
        note(log, {f"guest {guests}": piece.decode(errors="replace")})
    note(log, {"guests": guests, "ended": True})


def note(log: Path, what: dict[str, object]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
