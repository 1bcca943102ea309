"""Steps that may take long: a line now and then while one is at work, what it says in a log."""

import os
import re
import subprocess
import time
from pathlib import Path

LOG = Path("/var/log/deeprig/driver.log")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}
PROGRESS_SECONDS = 10


def run(what: str, argv: list[str]) -> str:
    """Run one step with a line every 10 s, its output in the log; its last complaint, or ""."""
    print(f"{what} ...", flush=True)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with LOG.open("a+") as log:
        log.write(f"\n# {time.strftime('%F %T')} {what}\n")
        log.flush()
        begin = log.tell()
        step = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET},
        )  # fmt: skip
        while step.poll() is None:
            try:
                step.wait(PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{what}: {time.monotonic() - started:.0f} s so far", flush=True)
        log.seek(begin)
        output = log.read()
    if step.returncode == 0:
        return ""
    return complaint(output) or f"it ended with {step.returncode}"


def complaint(said: str) -> str:
    """The first thing that apt or dpkg complains of; dpkg gives its reason in the next line."""
    match = re.search(r"^(?:E|Error|dpkg|modprobe: \w+): *(.+?(?::\n +\S.*)?)$", said, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def logged(what: str, said: str) -> None:
    """Keep what a step said that was not run by `run`."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"\n# {time.strftime('%F %T')} {what}\n{said}\n")


def last_said() -> str:
    """All that the last step said."""
    return LOG.read_text(errors="replace").rpartition("\n# ")[2] if LOG.exists() else ""
