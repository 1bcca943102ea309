"""Where the program lies on a box, and how its parts, systemd and apt call one another."""

import shlex
from pathlib import Path

CURRENT = Path("/usr/local/lib/deeprig/current")  # a link to the folder in use
BOX = str(CURRENT / "deeprig-box")


def command(name: str, *words: str) -> list[str]:
    """A command of ours, word by word."""
    return [BOX, name, *words]


def script(name: str) -> str:
    """One of those that need no Python."""
    return str(CURRENT / "bin" / name)


def told(name: str) -> str:
    """What is said to who asked for something else."""
    return f"`{shlex.join(command('help', name))}` says what it takes"
