"""Exchange a folder with another one again and again, while root works in it by its name.

exchanges.py FOLDER HERE THERE SECONDS, by renameat2(2) with RENAME_EXCHANGE, so that the name is
never without a folder. FOLDER/exchanges.log says how often.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

RENAME_EXCHANGE = 2
AT_FDCWD = -100
MOST = 20_000_000


def main(folder: str, here: str, there: str, seconds: float) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    log = Path(folder, "exchanges.log")
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    libc = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(here), os.fsencode(there)
    end, times, failed = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end and times < MOST and not stop:
        done = libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
        times, failed = times + 1, failed + (1 if done else 0)
    with log.open("a") as file:
        file.write(json.dumps({"times": times, "failed": failed, "ended": True}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
