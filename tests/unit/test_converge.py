"""One way to ask and to act: a command says how what it looks after stands, and mends it."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deeprig_box.__main__ import COMMANDS, main

from deeprig.operations import core
from deeprig.operations.core import Standing, Stands
from deeprig.parsers.untrusted import ODD
from deeprig.runner import runs
from deeprig.settings import Rig
from tests.unit.box_scripts import SCRIPTS, loaded

NEXT = SimpleNamespace(kernel="", title="Windows", initrd="")


def steps(said: str, **options: bool) -> list[Any]:
    """What a run does where the command says so."""
    data: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}
    data["fake_responses"] = {"deeprig-box watched check": said}

    def build(rig: Rig) -> None:
        core.converge(name="Have it so", command="deeprig-box watched", **options)

    return [step.status for step in runs.run("@fake/rig1", data, build).steps]


@pytest.mark.parametrize(
    ("state", "status"),
    [("ok", "unchanged"), ("later", "unchanged"), ("owed", "changed"), ("refused", "failed")],
)
def test_what_is_owed_is_brought_about(state: str, status: str) -> None:
    assert steps(json.dumps({"state": state, "say": "Why."})) == [status]


def test_why_it_is_refused_is_in_the_report() -> None:
    """A verb that runs a part of a deploy said only at which step it had failed."""
    refusal = json.dumps({"state": "refused", "say": "Another driver is there."})
    data: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}
    data["fake_responses"] = {"deeprig-box watched check": refusal}

    def build(rig: Rig) -> None:
        core.converge(name="Have it so", command="deeprig-box watched")

    report = runs.run("@fake/rig1", data, build)
    assert report.refusals == ["Another driver is there."]
    assert report.error == "@fake/rig1: Another driver is there."


def test_what_is_left_for_later_may_be_in_the_plan_all_the_same() -> None:
    """What a run would do is asked before it executes; then it is left."""
    said = json.dumps({"state": "later", "say": "Somebody computes."})
    assert steps(said, shown=True) == ["unchanged"]
    data: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}
    data["fake_responses"] = {"deeprig-box watched check": said}
    for shown in (False, True):

        def build(rig: Rig, shown: bool = shown) -> None:
            core.converge(name="Have it so", command="deeprig-box watched", shown=shown)

        assert bool(runs.run("@fake/rig1", data, build, dry=True).changes) is shown


def test_a_program_that_is_not_there_yet_owes_all_of_it() -> None:
    assert steps("") == ["changed"]


def test_an_answer_is_a_line_of_json_and_nothing_else() -> None:
    assert Stands().process(['{"state": "ok", "say": ""}']) == Standing("ok", "")
    for odd in ("ok", "[]", '{"state": 1, "say": ""}', '{"state": "ok"}'):
        with pytest.raises(ODD):
            json.loads(odd) if odd == "ok" else Stands.process.__wrapped__(Stands(), [odd])


CONVERGING = {name: command.module for name, command in COMMANDS.items() if command.converges}


@pytest.mark.parametrize(
    "name", CONVERGING.keys() - {"notebook-server"}
)  # it reads a box's settings
def test_each_that_brings_about_says_how_it_stands(name: str) -> None:
    with loaded(CONVERGING[name]) as module:
        assert list(inspect.signature(module.check).parameters) != []
        assert callable(module.apply)


def test_a_command_with_a_check_of_its_own_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`reboot-gate check` is for people, and no line of JSON."""
    with loaded("boot.gate") as gate:
        monkeypatch.setattr(gate, "Loader", lambda: SimpleNamespace(next=NEXT))
        monkeypatch.setattr(sys, "argv", ["deeprig-box", "reboot-gate", "check"])
        monkeypatch.setattr(os, "environ", dict(os.environ))
        with pytest.raises(SystemExit, match=r"^No reboot: 'Windows' boots next"):
            main()


@pytest.mark.parametrize(
    ("found", "state", "say"),
    [
        ("settled", "ok", ""),
        ("due", "owed", ""),
        ("no GRUB here", "later", "A boot that fails is not taken back: no GRUB here."),
    ],
)
def test_a_trial_that_cannot_be_made_is_said_and_left(
    monkeypatch: pytest.MonkeyPatch, found: str, state: str, say: str
) -> None:
    with loaded("boot.trial") as trial:
        monkeypatch.setattr(trial, "due", lambda: found)
        assert trial.check([]) == (state, say)


@pytest.mark.parametrize(
    ("found", "state", "say"),
    [
        ("ok", "ok", ""),
        ("load", "owed", ""),
        ("wrong: it is broken: yes", "refused", "it is broken: yes."),
        ("reboot: nouveau holds it", "later", "A reboot is owed: nouveau holds it."),
    ],
)
def test_modules_that_wait_for_a_reboot_are_no_fault(
    monkeypatch: pytest.MonkeyPatch, found: str, state: str, say: str
) -> None:
    with loaded("nvidia.load") as load:
        monkeypatch.setattr(load, "in_use", lambda: found)
        assert load.check([]) == (state, say)


def test_a_driver_that_is_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded("driver.install") as install:
        for found, standing in (
            ("kept: driver 550 is there", ("ok", "Driver 550 is there.")),
            ("ok 580 for 6.1", ("ok", "")),
            ("not installed: x", ("owed", "not installed: x")),
        ):
            monkeypatch.setattr(install, "state", lambda found=found: found)
            assert install.check([]) == standing


@pytest.mark.parametrize(
    ("wakes", "state"), [("Wake-on: g", "ok"), ("Wake-on: d", "owed"), ("refused", "later")]
)
def test_a_card_says_so_too(tmp_path: Path, wakes: str, state: str) -> None:
    """ethtool is a stand-in."""
    script = (SCRIPTS / "wake-on-lan").read_text().replace("/run/", f"{tmp_path}/")
    (tmp_path / "wake-on-lan").write_text(script)
    (tmp_path / "wake-on-lan").chmod(0o755)
    if wakes == "refused":
        (tmp_path / "deeprig-wake-on-lan-refused").write_text("eth0\n")
    (tmp_path / "ethtool").write_text(f"#!/bin/sh\necho '  {wakes}'\n")
    (tmp_path / "ethtool").chmod(0o755)
    done = subprocess.run(
        [tmp_path / "wake-on-lan", "check", "eth0"], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert Stands().process(done.stdout.splitlines()).state == state
