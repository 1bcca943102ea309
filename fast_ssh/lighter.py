"""What pyinfra 3.10 works out anew for each operation and host, without need: by far its most work.

The results are the same. Of the frames of the stack it uses the file and the line, but has the
source text around each looked up; and it evaluates the annotations of its arguments every time.
"""

import functools
import inspect
import typing

from pyinfra.api import arguments, util


def lighten() -> None:
    """Have this process look nothing up that is not used, and evaluate once."""
    if getattr(util, "stack", None) is inspect.stack:
        util.stack = functools.partial(inspect.stack, 0)  # type: ignore[attr-defined]
    if getattr(util, "getframeinfo", None) is inspect.getframeinfo:
        util.getframeinfo = functools.partial(inspect.getframeinfo, context=0)  # type: ignore[attr-defined]
    if getattr(arguments, "get_type_hints", None) is typing.get_type_hints:
        once = functools.cache(typing.get_type_hints)
        arguments.get_type_hints = once  # type: ignore[attr-defined,assignment]
