"""A command for a box that ends in time, also where its program hangs in the kernel."""

import shlex
from functools import cache
from pathlib import Path

# What the box's own scripts use; sent along, for it may not be there, or be somebody else's.
SOURCE = Path(__file__).parents[2] / "files/usr/local/lib/deeprig/bounded.py"
SECONDS = 60
TIMED_OUT, MISSING = 124, 127


def command(*argv: str, seconds: int = SECONDS) -> str:
    """What a shell on the box is to run: `argv`, its output and its exit status, or 124 and a
    sentence on stderr where it has not ended within `seconds`.
    """
    return shlex.join(["python3", "-I", "-c", _source(), str(seconds), *argv])


@cache
def _source() -> str:
    return SOURCE.read_text()
