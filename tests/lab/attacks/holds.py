"""Have room taken from the box by what is not given back: holds.py FOLDER WHERE SECONDS.

A line in a startup file of the work user runs it, as inherits.py. It fills every file that it may
write to as far as it may, and keeps it open in the background.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

MOST = 16 * 2**20  # of each file
PIECE = b"x" * 65536


def fill(number: int) -> int:
    """How much went in."""
    written = 0
    try:
        while written < MOST:
            written += os.write(number, PIECE)
    except OSError:
        pass
    return written


def main(folder: str, where: str, seconds: float) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = {number: os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)}  # noqa: PTH115
    files = [number for number, leads in kept.items() if leads.startswith("/run")]
    time.sleep(1)  # until root has read what it wanted
    filled = sum(fill(number) for number in files)
    with Path(folder, "holds.log").open("a") as log:
        log.write(json.dumps({"where": where, "held": kept, "filled": filled}) + "\n")
    time.sleep(seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
