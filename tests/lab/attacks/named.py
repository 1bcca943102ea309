"""Run for a while under a name that has escape sequences in it: named.py FOLDER SECONDS."""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

NAME = b"\x1b]0;PWN\x07\x1b[2J"  # a terminal's title, and its screen cleared
PR_SET_NAME = 15


def main(folder: str, seconds: float) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    done = ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)
    name = Path("/proc/self/comm").read_text()
    log = Path(folder, "named.log")
    log.write_text(json.dumps({"pid": os.getpid(), "done": done, "name": name}) + "\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop:
        time.sleep(0.1)
    with log.open("a") as file:
        file.write(json.dumps({"ended": True}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
