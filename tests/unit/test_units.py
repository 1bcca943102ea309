"""Every service of ours is sandboxed, or its file says why it is not."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Neither what it starts nor a hole in it can get more than it has.
EVERYWHERE = {
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
}
WITH_VALUES = ("CapabilityBoundingSet", "RestrictAddressFamilies")
EXEMPT = re.compile(r"^# No sandbox: \S.+", re.MULTILINE)
# What gives access back or changes the boot, and what runs its user's own code.
MAY_BE_EXEMPT = {
    "deeprig-access-boot.service",
    "deeprig-access-revert.service",
    "deeprig-boot-back.service",
    "deeprig-boot-guard.service",
    "deeprig-boot-trial.service",
    "deeprig-driver-move.service",
    "deeprig-jobs.service",
    "deeprig-notebook.service",
}
UNITS = sorted(
    path
    for place in ("files", "templates")
    for path in (ROOT / place / "etc/systemd").glob("*/*.service*")
    if path.is_file()
)


def missing(text: str) -> list[str]:
    lines = text.splitlines()
    known = {line.partition("=")[0] for line in lines}
    return sorted({*EVERYWHERE} - {*lines}) + [name for name in WITH_VALUES if name not in known]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_service_is_sandboxed_or_says_why_not(path: Path) -> None:
    text = path.read_text()
    if path.name.removesuffix(".j2") in MAY_BE_EXEMPT:
        assert EXEMPT.search(text)
    else:
        assert missing(text) == []


def test_the_rule_finds_the_units_and_sees_what_is_missing() -> None:
    names = {path.name.removesuffix(".j2") for path in UNITS}
    assert {*MAY_BE_EXEMPT, "deeprig-watch.service", "deeprig-wake-on-lan.service"} <= names
    assert missing("[Service]\nExecStart=/bin/true\n") == [*sorted(EVERYWHERE), *WITH_VALUES]
