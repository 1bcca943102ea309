"""Words that come from a box: parsed into what they should be, and made fit to be printed.

A box may have been taken over, and what stands on it may be any user's: a value is refused where
it is not what was asked for, and no control character of it reaches a terminal.
"""

import re
import unicodedata
from collections.abc import Callable

from deeprig.errors import DeeprigError


class NotSo(DeeprigError):
    """A box gave something else than what was asked for; the message says both."""


# What taking an answer apart raises where it is no such answer.
ODD = (
    NotSo, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError,
)  # fmt: skip


def why(error: Exception) -> str:
    """What was odd about an answer, in words."""
    return str(error) if isinstance(error, NotSo) else "it has another form than was asked for"


# Cc control, Cf format (bidirectional overrides among them), Cs half characters, Zl and Zp lines.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """One line in which each control character stands as Python writes it, such as \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(letter) if unicodedata.category(letter) in HIDDEN else letter
                   for letter in text)  # fmt: skip


def lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


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
serial = parser("serial number", r"[\w.:+-]{1,64}", 64)
user_name = parser("user name", r"[a-z_][a-z0-9_-]{0,31}\$?", 32)
package = parser("package name", r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?", 100)
version = parser("version", r"[0-9A-Za-z][\w.+:~-]*", 100)
path = parser("path", r"/[^\x00-\x1f\x7f]*", 4096)


def number(text: str, low: int = 0, high: int = 2**63 - 1) -> int:
    """The number, if it is one of plain digits within these bounds; raises NotSo."""
    if re.fullmatch(r"[0-9]{1,19}", text) and low <= int(text) <= high:
        return int(text)
    raise NotSo(f"{text[:80]!r} is no number from {low} to {high}")
