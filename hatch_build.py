"""What a wheel holds besides its packages: the rest of the tree, where deeprig/tree.py looks.

Not in an editable install: that uses the tree itself, and a copy beside it would grow old unseen.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Below deeprig/, so that no other package's `tasks` or `tests` is in the way, nor ours in theirs.
INSIDE = "deeprig/_tree"
PARTS = (
    "deploy.py",
    "inventory.py",
    "pyproject.toml",  # how pytest runs the checks
    "tasks",
    "templates",
    "files",
    "box",
    "tests/__init__.py",
    "tests/host",
)


class TreeHook(BuildHookInterface[Any]):
    """hatchling finds it here by pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is hatchling's word for the kind of wheel: standard or editable."""
        if version == "standard":
            build_data["force_include"] |= {
                str(Path(self.root, part)): f"{INSIDE}/{part}" for part in PARTS
            }
