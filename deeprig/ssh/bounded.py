"""A command for a box that ends in time, also where its program hangs in the kernel."""

import shlex
from functools import cache

from deeprig.ssh import box_source

# What the box's own program uses; sent along, for it may not be there, or be somebody else's.
SOURCE = "deeprig_box.lib.bounded"
SECONDS = 60
TIMED_OUT, MISSING = 124, 127


def command(*argv: str, seconds: int = SECONDS) -> str:
    """What a shell on the box is to run: `argv`, its output and its exit status, or 124 and a
    sentence on stderr where it has not ended within `seconds`.
    """
    return shlex.join(["python3", "-I", "-c", _source(), str(seconds), *argv])


@cache
def _source() -> str:
    return f"{box_source.text(SOURCE)}\n\nsys.exit(main())\n"
