"""The sources of what is in the packages: files/."""

import re
from collections.abc import Mapping
from pathlib import Path

FILES = Path(__file__).parent / "files"
Values = Mapping[str, str]


def text(source: str, values: Values) -> str:
    """A source with each @NAME@ put in from the values; nothing where they have none."""
    return re.sub(
        "@([A-Z0-9_]+)@",
        lambda found: values.get(found[1]) or values.get(found[1].lower(), ""),
        (FILES / source).read_text(),
    )
