"""Wait for root to make a file in one's own folder, and put a link in its place that very moment.

swaps.py FOLDER PATH VICTIM SECONDS. FOLDER/swaps.log says how often it looked, how often it put the
link there, and whether VICTIM has become this account's.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

MOST_SWAPS = 50


def main(folder: str, path: str, victim: str, seconds: float) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    log, link = Path(folder, "swaps.log"), Path(f"{path}.link")
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    end, looks, swaps = time.monotonic() + seconds, 0, 0
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    while time.monotonic() < end and swaps < MOST_SWAPS and not stop:
        looks += 1
        if os.path.lexists(path) and not os.path.islink(path):  # noqa: PTH114  # the quickest way
            with contextlib.suppress(OSError):
                link.rename(path)
                swaps += 1
                link.symlink_to(victim)
    said = {"looks": looks, "swaps": swaps, "won": owned(victim), "ended": True}
    with log.open("a") as file:
        file.write(json.dumps(said) + "\n")


def owned(victim: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(victim).stat().st_uid == os.getuid()
    return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
