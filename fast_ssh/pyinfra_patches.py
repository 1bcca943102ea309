"""What pyinfra 3.10 works out anew for each operation and host, without need: by far its most work.

The results are the same. Of the frames of the stack it uses the file and the line, but has the
source around each looked up; and it evaluates the annotations of its arguments every time.
"""

import functools
import inspect
import sys
import typing
from types import FrameType
from typing import NamedTuple

from pyinfra.api import arguments, util


class Place(NamedTuple):
    """Where a frame is: of inspect's Traceback what pyinfra reads."""

    filename: str
    lineno: int


def apply() -> None:
    """Have this process look nothing up that is not used, and evaluate once."""
    if getattr(util, "stack", None) is inspect.stack:
        util.stack = _stack  # type: ignore[attr-defined,assignment]
    if getattr(util, "getframeinfo", None) is inspect.getframeinfo:
        util.getframeinfo = _place  # type: ignore[attr-defined,assignment]
    if getattr(arguments, "get_type_hints", None) is typing.get_type_hints:
        once = functools.cache(typing.get_type_hints)
        arguments.get_type_hints = once  # type: ignore[attr-defined,assignment]


def _stack() -> list[tuple[FrameType]]:
    """The frames from the caller's on, innermost first."""
    frames, frame = [], sys._getframe(1)
    while frame:
        frames.append((frame,))
        frame = frame.f_back  # type: ignore[assignment]
    return frames


def _place(frame: FrameType) -> Place:
    return Place(frame.f_code.co_filename, frame.f_lineno)
