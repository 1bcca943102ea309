"""Words of others made fit to be printed: no control character of them reaches a terminal."""

import re
import unicodedata

# Cc control, Cf format (bidirectional overrides among them), Cs half characters, Zl and Zp lines.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# What makes text bold or coloured, as click writes it; neither concealed nor black.
COLOUR = re.compile(r"(\x1b\[(?:0|1|3[1-7]|39|9[1-7])m)")


def visible(text: str) -> str:
    """One line in which each control character stands as Python writes it, such as \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(letter) if unicodedata.category(letter) in HIDDEN else letter
                   for letter in text)  # fmt: skip


def lines(text: str) -> str:
    """The same for a text of several lines, which stay lines, with tabs in them."""
    return "\n".join(
        "\t".join(map(visible, line.removesuffix("\r").split("\t"))) for line in text.split("\n")
    )


def coloured(text: str) -> str:
    """The same for a text of ours with such words in it: our bold and our colours stay."""
    if "\x1b" not in text:
        return lines(text)
    return "".join(part if COLOUR.fullmatch(part) else lines(part) for part in COLOUR.split(text))


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
