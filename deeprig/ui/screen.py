"""The one way onto a person's terminal: what a box said stands in our sentences, made visible."""

import json
import logging
from typing import Any

import click

from deeprig.ui.visible import coloured, visible

ERASE = "\r\x1b[K"  # the line that is rewritten while something is done
WIDEST = 100


def echo(message: object = "", *, err: bool = False, **_: Any) -> None:
    """A text of ours, on stdout or stderr; in the place of click.echo for pyinfra too."""
    click.echo("" if message is None else coloured(str(message)), err=err)


def as_json(found: object, *, indent: int | None = None) -> None:
    """The same for a program, on stdout: JSON itself has no control characters."""
    click.echo(json.dumps(found, indent=indent))


def rewrite(line: str = "", *, widest: int = WIDEST) -> None:
    """In place of the line that stands there, on stderr; nothing takes it away."""
    click.echo(f"{ERASE}{visible(line)[:widest]}", nl=False, err=True)


def ask(question: str, **options: Any) -> Any:
    """What somebody types, on stderr; as click.prompt."""
    return click.prompt(coloured(question), err=True, **options)


def confirm(question: str, **options: Any) -> bool:
    """Whether somebody says yes, on stderr; as click.confirm."""
    return click.confirm(coloured(question), err=True, **options)


class _Made(logging.Filter):
    """A line of a log, in which the words of others are made visible."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = coloured(record.getMessage()), None
        return True


_MADE = _Made()
_NOWHERE = logging.NullHandler()


def guard() -> None:
    """Have pyinfra and whoever else logs print in the same way; as often as one likes.

    paramiko prints nothing: it logs a traceback for each login that breaks, and raises it too.
    """
    from pyinfra.api import output  # `deeprig --help` can do without

    logging.getLogger("pyinfra").addFilter(_MADE)  # the same one is added once
    logging.getLogger("paramiko").addHandler(_NOWHERE)
    if logging.lastResort:
        logging.lastResort.addFilter(_MADE)
    if output.is_output_active():
        output.set_echo(echo)
