"""A whole move of a driver, on a box that plays one: what is asked of it, and how often."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deeprig.inventories import Box
from deeprig.settings import Driver, Rig
from deeprig.ssh import known_hosts
from deeprig_cli.driver import client
from deeprig_cli.driver.move import COMPONENTS, Move
from deeprig_cli.verify import runner
from deeprig_cli.verify.runner import Check
from tasks import driver_move
from tests.unit import ssh_server
from tests.unit.recorded import DEBIAN_13
from tests.unit.ssh_server import Server

OLD, NEW = "550.163.01", "550.178.04"
CARD = ["gpu=0000:01:00.0 10de:2204 030000", "kernel=6.12.117+deb13-amd64"]
# What is asked as root it answers itself: nothing of this machine is asked or changed.
SUDO = """#!/bin/sh
echo "$*" >> {folder}/asked
case "$*" in
  *USERS=*) /bin/cat {folder}/survey;;
  "-n sh -s") /bin/cat {folder}/locks;;
  *"driver-move begin"*) echo "$*" >> {folder}/begun;;
  *"driver-move follow"*) /bin/cat {folder}/record; echo one more >> {folder}/boots
    /bin/mv -f {folder}/next {folder}/record 2>/dev/null;;
  *"cat >"*) /bin/cat >/dev/null;; # who writes to one that has ended is told that it is closed
esac
exit 0
"""
# The only file that a login itself asks for is the number of its boot.
CAT = """#!/bin/sh
n=0; while read -r _; do n=$((n + 1)); done < {folder}/boots
echo 6f1ed002-ab5e-4f8c-8d1e-00000000000$n
"""


def record(step: str, kind: str = "upgrade") -> str:
    said = {"kind": kind, "step": step, "before": OLD, "after": NEW, "why": "", "verified": False}
    return json.dumps({**said, "stepped": 1.5}) + "\n"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    """It lets everybody in, and has each login's commands run where only these programs are."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "base64", "rm", "mktemp"):
        (programs / name).symlink_to(f"/bin/{name}")
    (tmp_path / "survey").write_text("\n".join([*DEBIAN_13, *CARD]))
    (tmp_path / "boots").write_text("the first\n")
    (tmp_path / "locks").touch()
    for name, text in {"sudo": SUDO, "cat": CAT}.items():
        (programs / name).write_text(text.replace("{folder}", str(tmp_path)))
        (programs / name).chmod(0o755)
    with ssh_server.serve({"PATH": str(programs)}) as server:
        server.shell = ("/bin/sh", "-c")
        known_hosts.pin(tmp_path / "known_hosts", "127.0.0.1", server.port, server.host_key)
        yield server


@pytest.fixture
def move(box: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Move]:
    monkeypatch.setattr(driver_move, "prepare", lambda **_: None)  # sixty files, ten seconds
    monkeypatch.setattr(client, "TRY_EVERY", 0.0)

    def made(**options: Any) -> Move:
        rig = Rig(driver=Driver(), notebook=None, python=None, connection="ssh")
        data = ssh_server.data(box, tmp_path) | {"rig": rig}
        options = {"force": False, "reboot": True, **options}
        return Move(Path("inventory.py"), ("127.0.0.1", data), **options)

    return made


@pytest.fixture
def surveys(tmp_path: Path) -> Callable[[], int]:
    return lambda: (tmp_path / "asked").read_text().count("USERS=")


@pytest.fixture
def reboots(tmp_path: Path) -> Callable[..., None]:
    """Have the next move reboot the box, and end like this."""

    def prepare(step: str, kind: str = "upgrade") -> None:
        (tmp_path / "record").write_text(record("rebooting", kind))
        (tmp_path / "next").write_text(record(step, kind))

    return prepare


def test_an_upgrade_logs_in_six_times_with_its_reboot_and_surveys_four(
    box: Server, move: Callable[..., Move], reboots: Callable[..., None],
    surveys: Callable[[], int], tmp_path: Path,
) -> None:  # fmt: skip
    reboots("moved")
    outcome = move().upgrade()
    assert outcome.good and outcome.verified, outcome
    assert outcome.failed  # on this box nothing is as planned, before as after
    assert (len(box.transports), surveys()) == (6, 4)
    assert "driver-move begin upgrade\n" in (tmp_path / "begun").read_text()
    assert (tmp_path / "asked").read_text().splitlines()[-1].endswith("driver-move confirm")


def test_what_is_taken_back_costs_one_more_login_for_its_reboot(
    box: Server, move: Callable[..., Move], reboots: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rounds = [checks("passed"), checks("failed")]

    def run(*_: Any) -> list[Check]:
        if len(rounds) == 1:
            reboots("back", "rollback")
        return rounds.pop(0)

    monkeypatch.setattr(runner, "run", run)  # they would log in twice
    reboots("moved")
    outcome = move().upgrade()
    assert (outcome.good, outcome.failed) == (False, ("it answers",))
    assert len(box.transports) == 1 + 2 + 1 + 1


def test_a_rollback_logs_in_four_times_with_its_reboot_and_surveys_twice(
    box: Server, move: Callable[..., Move], reboots: Callable[..., None],
    surveys: Callable[[], int],
) -> None:  # fmt: skip
    reboots("back", "rollback")
    outcome = move().rollback()
    assert (outcome.step, outcome.after) == ("back", NEW)
    assert (len(box.transports), surveys()) == (4, 2)


def test_a_box_that_says_what_its_boot_waits_for_is_not_rebooted(
    move: Callable[..., Move], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run", lambda *_: checks("passed"))
    (tmp_path / "locks").write_text("asks=sda3_crypt|/|console\n")
    (tmp_path / "record").write_text(record("reboot owed", "rollback"))
    said = move().rollback().sentence
    assert "/ is encrypted (sda3_crypt)" in said and said.endswith("that one is yours to make")
    assert "--no-reboot" in (tmp_path / "begun").read_text()


def checks(outcome: str) -> list[Check]:
    """A round of them, of which the last one ended like this."""
    every = [*["passed"] * 4, outcome]
    return [
        Check(host="a", component="driver", check="it answers", outcome=how, reason="", seconds=0.0)
        for how in every
    ]


def test_what_a_deploy_wrote_down_says_nothing_of_the_driver(
    move: Callable[..., Move], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = checks("failed")
    old = replace(first, outcome="failed", check="it is written", of_the_record=True)
    monkeypatch.setattr(runner, "run", lambda *_: [old, *others, first])
    assert move()._failing("Verify", None) == ("it answers",)
    assert "of_the_record" not in old.to_json()


def test_the_check_of_what_a_deploy_wrote_down_is_marked_so() -> None:
    """An upgrade judges by the marker: it must be on that check, and on no other."""
    modules = [import_module(f"tests.host.test_{component}") for component in COMPONENTS]
    marked = [
        name
        for module in modules
        for name, check in vars(module).items()
        if any(mark.name == "of_the_record" for mark in getattr(check, "pytestmark", ()))
    ]
    assert marked == ["test_the_record_says_what_was_planned"]


def test_checks_before_and_after_plan_for_the_branch_that_is_asked_for(
    move: Callable[..., Move], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str | None] = []

    def run(boxes: list[Box], *_: Any) -> list[Check]:
        planned.extend(data["rig"].driver.branch for _, data in boxes)
        return checks("passed")

    monkeypatch.setattr(runner, "run", run)
    one = move(branch="595")
    one._failing("Verify", one.branch)
    one._failing("Verify", None)
    assert planned == ["595", None]
