"""Words put together for people."""

from collections.abc import Sequence


def join_words(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return ", ".join(words[:-1]) + (" and " if words[1:] else "") + "".join(words[-1:])
