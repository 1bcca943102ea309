"""Programs that must do what they are run for."""

import functools
from collections.abc import Mapping

from deeprig_box.lib import bounded
from deeprig_box.lib.errors import BoxError


def run(
    *argv: str,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    english: bool = True,
    seconds: float = bounded.SECONDS,
) -> str:
    """What it prints. Raises BoxError with its last words where it fails."""
    done = bounded.run(argv, stdin=stdin, environment=environment, english=english, seconds=seconds)
    if done.code:
        raise BoxError(f"{argv[0]} failed: {done.last_words.rstrip('.')}")
    return done.out.strip()


# For what fetches, builds or formats.
run_long = functools.partial(run, seconds=bounded.LONG)


def said(*argv: str, seconds: float = bounded.SECONDS) -> str:
    """What it prints, empty where it fails, hangs or does not exist."""
    done = bounded.run(argv, seconds=seconds)
    return done.out.strip() if done.code == 0 else ""
