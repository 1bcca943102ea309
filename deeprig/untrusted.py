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


def _parser(what: str, pattern: str, most: int) -> Callable[[str], str]:
    form = re.compile(pattern)

    def parse(text: str) -> str:
        if len(text) <= most and form.fullmatch(text):
            return text
        raise NotSo(f"{visible(text[:80])!r} is no {what}")

    parse.__doc__ = f"The text, if it is a {what}; raises NotSo."
    return parse


mac = _parser("MAC address", r"([0-9a-f]{2}:){5}[0-9a-f]{2}", 17)
interface = _parser("network interface", r"[A-Za-z0-9_.:@-]{1,15}", 15)
pci_address = _parser("PCI address", r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", 16)
uuid = _parser("UUID", r"[0-9A-Fa-f-]{4,64}", 64)
serial = _parser("serial number", r"[\w.:+-]{1,64}", 64)
user_name = _parser("user name", r"[a-z_][a-z0-9_-]{0,31}\$?", 32)
version = _parser("version", r"[0-9A-Za-z][\w.+:~-]*", 100)
path = _parser("path", r"/[^\x00-\x1f\x7f]*", 4096)


def number(text: str, low: int = 0, high: int = 2**63 - 1) -> int:
    """The number, if it is one of plain digits within these bounds; raises NotSo."""
    if re.fullmatch(r"[0-9]{1,19}", text) and low <= int(text) <= high:
        return int(text)
    raise NotSo(f"{visible(text[:80])!r} is no number from {low} to {high}")
