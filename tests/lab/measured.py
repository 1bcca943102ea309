"""A command of this machine's to its end: what it said, how long it took, how large it was."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT

KEPT = 2**20  # of what it says
# Longer than anything takes that has an end, also on a machine that has much else to do.
SECONDS = 600


class Said(NamedTuple):
    """What it came to; `peak` is its largest size in MiB."""

    code: int
    out: str
    err: str
    seconds: float
    peak: float

    @property
    def all(self) -> str:
        return self.out + self.err


def run(*argv: str, seconds: float = SECONDS, **more: str) -> Said:
    """One command; an AssertionError where it has no end within `seconds`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env=os.environ | more, start_new_session=True,
        )  # fmt: skip
        late = False
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() - started > seconds and not late:
                late = True
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - started
        words = []
        for file in (out, err):
            file.seek(0)
            words.append(file.read(KEPT).decode(errors="replace"))
    peak = usage.ru_maxrss / 1024
    assert not late, f"{argv[:3]} not within {seconds} s; {peak:.0f} MiB; {words[0]}{words[1]}"
    return Said(process.returncode, words[0], words[1], took, peak)


def deploy(inventory: Path, *more: str, seconds: float = SECONDS) -> Said:
    return run(PYINFRA, "-y", str(inventory), *(more or ["deploy.py"]), seconds=seconds)


def deeprig(verb: str, inventory: Path, *words: str, seconds: float = SECONDS, **more: str) -> Said:
    return run(DEEPRIG, verb, "--inventory", str(inventory), *words, seconds=seconds, **more)
