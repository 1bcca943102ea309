"""The whole job on one box, with the power cut in the middle of it, and again after each blow."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import build
from lab import boxes
from tests.lab.conftest import DEEPRIG, ROOT, cut_while, deploy, run_on
from tests.lab.guarded import APT, shell

pytestmark = pytest.mark.lab

# Of different checks: one that is repeated over files or ports counts once.
LEAST_CHECKS, LEAST_THAT_RAN = 60, 45
# Operation, the seconds into it at which the power fails, and a program that must run by then.
CUTS = [
    ("Python tools, begun | Begin to make what does not stand", 0, "uv"),
    ("Install the tools of every day", 2, ""),
    ("Change the way in, proved by a new login", 1, ""),
    ("Have both servers run and answer", 0.5, ""),
]


@pytest.fixture(scope="module")
def deployed(box: boxes.Box) -> boxes.Box:
    """A box whose first deploy was cut short at four places, and then went through."""
    for operation, seconds, program in CUTS:
        cut_while(box, operation, seconds, program=program)
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    return box


def verify(inventory: Path, seconds: float = 300) -> list[dict[str, Any]]:
    """What `deeprig verify` found; it must have found nothing wrong, and have asked enough."""
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout)
    failed = [
        f"{check['check']}: {check['reason']}"
        for check in found
        if check["outcome"] not in ("passed", "skipped")
    ]
    assert failed == []
    assert done.returncode == 0, done.stderr
    return found


def different(checks: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(check["component"], check["check"].partition(": ")[0]) for check in checks}


def test_a_deploy_that_was_cut_short_is_finished_by_the_next(
    deployed: boxes.Box, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = verify(deployed.inventory)
    assert len(different(checks)) >= LEAST_CHECKS
    assert len(different([c for c in checks if c["outcome"] == "passed"])) >= LEAST_THAT_RAN
    unexplained = [c for c in checks if c["outcome"] == "skipped" and not c["reason"]]
    assert unexplained == []
    with capsys.disabled():
        for reason in sorted({c["reason"] for c in checks if c["outcome"] == "skipped"}):
            print(f"\nskipped on {deployed.os}: {reason}", end="")


def test_the_second_deploy_changes_nothing(deployed: boxes.Box) -> None:
    report = run_on(deployed, build)
    assert report.error is None
    assert report.changes == []
    assert len(report.steps) >= 40  # the control: it did look


def test_the_command_line_counts_no_change_either(deployed: boxes.Box) -> None:
    done = deploy(deployed)
    assert done.returncode == 0
    [total] = re.findall(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", done.stdout + done.stderr)
    operations, success, errors, unchanged = total
    assert (success, errors, unchanged) == ("-", "-", operations)


def test_all_is_well_after_an_installation_by_apt_and_a_reboot(deployed: boxes.Box) -> None:
    """As after each security update: the record on the box is older than what is there."""
    shell(deployed)(f"{APT} install hello")
    boxes.reboot(deployed.name)
    verify(deployed.inventory)


def test_all_is_well_after_a_power_cut(deployed: boxes.Box) -> None:
    boxes.cut(deployed.name)
    verify(deployed.inventory)
