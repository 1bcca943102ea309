"""The driver's packages held by exact name, and left alone by automatic updates."""

import re
from pathlib import Path

from deeprig_box.driver import simulate
from deeprig_box.lib import bounded, files
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import held_updates

UPDATES = Path("/etc/apt/apt.conf.d/deeprig-driver.conf")
# The same text as tasks/driver.py writes, so that a deploy afterwards changes nothing.
HEADER = (
    "// Written by deeprig (tasks/driver.py): edit it there.\n"
    "// A library that moves under a loaded module breaks every program that uses the GPU.\n"
)


def mark(how: str, names: list[str]) -> None:
    """`apt-mark hold`, unhold, auto or manual."""
    if not names:
        return
    done = bounded.run(["apt-mark", how, *names])
    if done.code:
        raise BoxError(f"apt-mark {how} failed: {done.err.strip()}")


def only(names: list[str], before: list[str]) -> None:
    """Hold these; those of `before` that are not among them go free."""
    held = simulate.held()
    mark("unhold", [name for name in before if name in held and name not in names])
    mark("hold", [name for name in names if name not in held])
    files.write(UPDATES, left_alone(names))
    held_updates.note()


def left_alone(names: list[str]) -> str:
    """unattended-upgrades takes regular expressions for the beginning of a name."""
    exact = [re.sub(r"([.+])", r"[\1]", name) for name in names]
    entries = "".join(f'    "{name}$";\n' for name in exact)
    return f"{HEADER}Unattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"
