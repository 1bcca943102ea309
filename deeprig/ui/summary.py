"""The last lines where several boxes were asked: one for each, with how it went."""

from collections.abc import Sequence
from typing import NamedTuple

import click

from deeprig.ui.visible import visible

WIDEST = 100
COLOURS = {0: "green", 1: "red", 2: "yellow"}


class Line(NamedTuple):
    """`code` is the box's own: 0 done, 1 something is wrong with it, 2 it could not be asked."""

    host: str
    code: int
    said: str


def code(lines: Sequence[Line]) -> int:
    """The exit code of all: what is wrong counts more than what could not be asked."""
    codes = {line.code for line in lines}
    return 1 if 1 in codes else max(codes, default=0)


def table(lines: Sequence[Line]) -> str:
    """Empty for one box, of which all is said already."""
    if len(lines) < 2:
        return ""
    width = max(len(line.host) for line in lines)
    words = {0: "ok", 1: "wrong", 2: "not asked"}
    rows = [
        click.style(
            f"  {line.host:{width}}  {words[line.code]:9}  {visible(line.said)}"[:WIDEST].rstrip(),
            fg=COLOURS[line.code],
        )
        for line in lines
    ]  # fmt: skip
    good = sum(line.code == 0 for line in lines)
    return "\n".join([f"{good} of {len(lines)} boxes are well:", *rows])
