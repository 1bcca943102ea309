"""Run by root on the box, as a witness: does an account hold what root's answers travel on?

watches.py FOLDER SECONDS USER. It looks again and again at the pipes and sockets of the deploy
user's logins, at those of all processes of USER, and at which files of root's these write to. It
ends after SECONDS or at SIGTERM, and says in FOLDER/watches.log what it saw.
"""

import contextlib
import json
import os
import pwd
import signal
import stat
import sys
import time
from pathlib import Path

DEPLOY_USER = "deeprig"
LOGINS = tuple(f"{name}: {DEPLOY_USER}@" for name in ("sshd-session", "sshd"))
CHANNELS = ("pipe:", "socket:")
KINDS = ("login", "account", "programs", "files")


class Seen:
    """All that was seen so far, each kind a set of words."""

    def __init__(self) -> None:
        self.kinds: dict[str, set[str]] = {kind: set() for kind in KINDS}

    def look(self, uid: int) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                if words.startswith(LOGINS):
                    self.kinds["login"] |= channels(process)
                elif real_uid(process) == uid:
                    program = words.replace("\0", " ")[:200]
                    self.kinds["account"] |= {f"{at} of {program}" for at in channels(process)}
                    self.kinds["programs"].add(program)
                    self.kinds["files"] |= {f"{file} of {program}" for file in written(process)}


def real_uid(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Uid:")).split()[1])


def channels(process: Path) -> set[str]:
    """The pipes and sockets of a process."""
    found = set()
    with contextlib.suppress(OSError):
        for each in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(each.readlink()))
    return {leads for leads in found if leads.startswith(CHANNELS)}


def written(process: Path) -> set[str]:
    """The files of root's that a process may write to."""
    found = set()
    with contextlib.suppress(OSError):
        for each in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                about = each.stat()
                writes = each.lstat().st_mode & stat.S_IWUSR
                if writes and stat.S_ISREG(about.st_mode) and about.st_uid == 0:
                    found.add(str(each.readlink()).removesuffix(" (deleted)"))
    return found


def main(folder: str, seconds: float, user: str) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    log = Path(folder, "watches.log")
    log.write_text(json.dumps({"pid": os.getpid()}) + "\n")
    seen, uid = Seen(), pwd.getpwnam(user).pw_uid
    end, looks = time.monotonic() + seconds, 0
    while time.monotonic() < end and not stop:
        seen.look(uid)
        looks += 1
        time.sleep(0.01)
    found = {kind: sorted(words) for kind, words in seen.kinds.items()}
    with log.open("a") as file:
        file.write(json.dumps({"looks": looks, **found, "ended": True}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
