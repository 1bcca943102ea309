"""The documents name what there is."""

import dataclasses
import re
from pathlib import Path

import pytest

from deeprig import catalog
from deeprig.settings import (
    Containers,
    Cuda,
    Disk,
    Driver,
    Firewall,
    Guest,
    Notebook,
    Passthrough,
    PowerLimit,
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
    [
        Rig,
        User,
        Ssh,
        Firewall,
        Disk,
        Storage,
        Driver,
        PowerLimit,
        Cuda,
        Containers,
        Python,
        Notebook,
        WakeOnLan,
        Passthrough,
        Guest,
    ],
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


COMPONENTS = [
    "base", "users", "ssh", "storage", "driver", "boot_guard", "boot_trial", "cuda", "containers",
    "python_env", "notebook", "run", "wake_on_lan", "passthrough", "notify",
]  # fmt: skip


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_says_what_it_changes_refuses_and_how_to_take_it_out(component: str) -> None:
    text = (DOCS / f"{component}.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"What it changes", "What it refuses", "Taking it out"} <= set(headings)
    assert f"(docs/{component}.md)" in (DOCS.parent / "README.md").read_text()


def test_the_supported_systems_and_their_ends_are_those_of_the_table() -> None:
    text = (DOCS / "systems.md").read_text()
    for system in catalog.load("systems")["system"]:
        assert f"| {system['name']} | {system['until']:%B %Y} |" in text
