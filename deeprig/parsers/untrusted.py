"""Words that come from a box: parsed into what they should be, and made fit to be printed.

A box may have been taken over, and what stands on it may be any user's: a value is refused where
it is not what was asked for, and no control character of it reaches a terminal.
"""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from deeprig.errors import DeeprigError
from deeprig.ui.visible import lines as lines
from deeprig.ui.visible import visible as visible


class NotSo(DeeprigError):
    """A box gave something else than what was asked for; the message says both."""


# What taking an answer apart raises where it is no such answer.
ODD = (
    NotSo, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError,
)  # fmt: skip


def why(error: Exception) -> str:
    """What was odd about an answer, in words."""
    return str(error) if isinstance(error, NotSo) else "it has another form than was asked for"


def words(text: str, most: int = 200) -> str:
    """What is only shown, such as a name: one line of this length at most, made visible."""
    return visible(text[:most])


def fits(parse: Callable[[str], str], text: str) -> str:
    """The text where it parses, else nothing: for what may be odd on an honest box too."""
    try:
        return parse(text)
    except NotSo:
        return ""


def parser(what: str, pattern: str, most: int) -> Callable[[str], str]:
    """A function that gives a text back which has this form, and raises NotSo for any other."""
    form = re.compile(pattern, re.ASCII)

    def parse(text: str) -> str:
        if len(text) <= most and form.fullmatch(text):
            return text
        raise NotSo(f"{text[:80]!r} is no {what}")

    parse.__doc__ = f"The text, if it is a {what}; raises NotSo."
    return parse


mac = parser("MAC address", r"([0-9a-f]{2}:){5}[0-9a-f]{2}", 17)
# Of any kind of network: InfiniBand's have 20 bytes, a tunnel's 4 or none.
link_address = parser("address of a network card", r"([0-9a-f]{2}(:[0-9a-f]{2}){0,31})?", 95)
# No option of a program begins like one.
interface = parser("network interface", r"[A-Za-z0-9_.][A-Za-z0-9_.:@-]{0,14}", 15)
pci_address = parser("PCI address", r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", 16)
pci_id = parser("PCI id", r"[0-9a-f]{4}:[0-9a-f]{4}", 9)
# Those of LVM have all letters in them, a CD's is a date.
uuid = parser("UUID", r"[0-9A-Za-z-]{4,64}", 64)
boot_id = parser("boot id", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", 36)
serial = parser("serial number", r"[\w.:+][\w.:+-]{0,63}", 64)
user_name = parser("user name", r"[a-z_][a-z0-9_-]{0,31}\$?", 32)
package = parser("package name", r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?", 100)
version = parser("version", r"[0-9A-Za-z][\w.+:~-]*", 100)
path = parser("path", r"/[^\x00-\x1f\x7f]*", 4096)


def number(text: str, low: int = 0, high: int = 2**63 - 1) -> int:
    """The number, if it is one of plain digits within these bounds; raises NotSo."""
    if re.fullmatch(r"[0-9]{1,19}", text) and low <= int(text) <= high:
        return int(text)
    raise NotSo(f"{text[:80]!r} is no number from {low} to {high}")


def shaped(found: Any, form: Any, where: str = "it") -> Any:
    """A value of JSON, if it has this form; raises NotSo.

    A form is a type; a tuple of forms, one of which it has; a list of one form; a dictionary of
    names to forms, of which it has all (more is left out); one of `str` to a form, for any names;
    or a function that gives the value back or raises NotSo.
    """
    match form:
        case type():
            return _typed(found, form, where)
        case tuple():
            return _one_of(found, form, where)
        case list():
            return [shaped(each, form[0], f"one of {where}") for each in _typed(found, list, where)]
        case dict() if str in form:
            every = _typed(found, dict, where)
            return {_typed(k, str, where): shaped(v, form[str], k) for k, v in every.items()}
        case dict():
            members = _typed(found, dict, where)
            if lacking := form.keys() - members.keys():
                raise NotSo(f"{where} has no {min(lacking)}")
            return {name: shaped(members[name], inner, name) for name, inner in form.items()}
    return form(_typed(found, str, where))


def _typed(found: Any, wanted: type, where: str) -> Any:
    own = (int, float) if wanted is float else (wanted,)
    if type(found) not in own or (isinstance(found, float) and not math.isfinite(found)):
        raise NotSo(f"{where} is {str(found)[:80]!r}")
    return found


def _one_of(found: Any, forms: tuple[Any, ...], where: str) -> Any:
    for form in forms:
        if found is None and form is None:
            return None
        with suppress(NotSo, TypeError):
            return shaped(found, form, where)
    raise NotSo(f"{where} is {str(found)[:80]!r}")
