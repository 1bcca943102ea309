"""Facts as data: each file says where they come from and when they were read."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def load(name: str) -> dict[str, Any]:
    """The table `name`.toml beside this file."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text())
