"""Listen at a Unix socket and never say a word: silent.py FOLDER PATH SECONDS."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

MOST_GUESTS = 200


def main(folder: str, path: str, seconds: float) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(100)
    listening.settimeout(0.2)
    log = Path(folder, "silent.log")
    log.write_text(json.dumps({"pid": os.getpid(), "listens": True}) + "\n")
    end = time.monotonic() + seconds
    guests: list[socket.socket] = []
    while time.monotonic() < end and not stop and len(guests) < MOST_GUESTS:
        try:
            guests.append(listening.accept()[0])
        except TimeoutError:
            continue
    with log.open("a") as file:
        file.write(json.dumps({"guests": len(guests), "ended": True}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
