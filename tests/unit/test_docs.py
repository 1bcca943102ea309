"""The documents name what there is."""

import dataclasses
import re
from pathlib import Path

import pytest

from deeprig.settings import (
    Cuda,
    Disk,
    Driver,
    Firewall,
    Notebook,
    Python,
    Rig,
    Ssh,
    Storage,
    User,
    WakeOnLan,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "part",
    [Rig, User, Ssh, Firewall, Disk, Storage, Driver, Cuda, Python, Notebook, WakeOnLan],
)
def test_every_setting_is_in_the_documents_and_no_other(part: type) -> None:
    text = (DOCS / "settings.md").read_text()
    section = text.partition(f"\n## {part.__name__}")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert named == [field.name for field in dataclasses.fields(part)]


@pytest.mark.parametrize(
    "page", sorted(DOCS.parent.glob("*.md")) + sorted(DOCS.glob("*.md")), ids=str
)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
