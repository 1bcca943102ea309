"""Run by root on the box, as a witness: which pipes and sockets carry a login's answers.

watches.py FOLDER SECONDS PROGRAM. It looks again and again at what the deploy user's sshd holds,
ends after SECONDS or at SIGTERM, and then writes their numbers into FOLDER/watches.log. PROGRAM is
the name of the attacker's script, whose descriptors it looks at as well.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

DEPLOY_USER = "deeprig"


def numbers(process: Path) -> set[str]:
    """The pipes and sockets of a process."""
    found = set()
    with contextlib.suppress(OSError):
        for each in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(each.readlink()))
    return {leads for leads in found if leads.startswith(("pipe:", "socket:"))}


def look(program: str) -> tuple[set[str], set[str], set[str]]:
    """What the logins of the deploy user hold, what the attacker's program does, who runs it."""
    login, attacker, attackers = set(), set(), set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if words.startswith(f"sshd-session: {DEPLOY_USER}@") or words.startswith(
                f"sshd: {DEPLOY_USER}@"
            ):
                login |= numbers(process)
            elif f"/{program}.py" in words and "watches.py" not in words:
                attacker |= numbers(process)
                attackers.add(process.name)
    return login, attacker, attackers


def main(folder: str, seconds: float, program: str) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    log = Path(folder, "watches.log")
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    kinds: tuple[set[str], ...] = (set(), set(), set())
    end, looks = time.monotonic() + seconds, 0
    while time.monotonic() < end and not stop:
        for all_of_them, seen in zip(kinds, look(program), strict=True):
            all_of_them |= seen
        looks += 1
        time.sleep(0.01)
    found = dict(zip(("login", "attacker", "attackers"), map(sorted, kinds), strict=True))
    said = {"looks": looks, **found, "ended": True}
    with log.open("a") as file:
        file.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
