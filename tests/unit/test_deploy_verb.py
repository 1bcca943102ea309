"""`deeprig deploy`: what it says, asks and ends with; the boxes are pyinfra's fakes and nobody."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.runner import runs
from deeprig.runner.runs import Report, Step
from deeprig.settings import Rig
from deeprig_cli.deploy import command, several
from deeprig_cli.deploy import report as deploy_report
from deeprig_cli.deploy.outcome import OF_A_LOOK, Outcome
from deeprig_cli.plan import report as plan_report
from deeprig_cli.plan.report import PlanReport
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_plan import TODAY

FAKE: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}
# A box that a deploy refuses: its work user could become root.
REFUSED = "\n".join([*DEBIAN_13, "root_group=ai|docker"])
INVENTORY = """
from deeprig.settings import Rig
answers = {{"USERS=": {survey!r}, "sudo -n true": "yes"}}
data = {{"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": answers}}
nobody = {{"rig": Rig(connection="ssh"), "ssh_hostname": "127.0.0.1", "ssh_port": 1}}
rigs = [
    *((f"@fake/{{name}}", data | {{"ssh_hostname": f"{{name}}.lan"}}) for name in ("rig1", "rig2")),
    ("gone", nobody),
]
"""

# Whoever answers there says nothing.
SILENT = """
from deeprig.settings import Rig
data = {{
    "rig": Rig(connection="ssh"), "ssh_hostname": "127.0.0.1", "ssh_port": {port},
    "ssh_strict_host_key_checking": "no", "ssh_config_file": "/dev/null",
}}
rigs = [("one", data), ("two", data | {{"ssh_hostname": "localhost"}})]
"""


@operation()
def _does(command: str | None) -> Generator[StringCommand, None, None]:
    if command is None:
        host.noop("it is so")
    else:
        yield StringCommand(command)


def _build(rig: Rig) -> None:
    _does(name="Change a thing", command="true")
    operations.say(host, "the kettle is on")
    _does(name="Leave a thing", command=None)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "rigs.py"
    file.write_text(INVENTORY.format(survey=REFUSED))
    return file


def deploy(inventory: Path, *words: str) -> Result:
    return CliRunner().invoke(command.deploy, [*words, "--inventory", str(inventory)])


def test_what_is_changed_and_said_is_told_and_nothing_else() -> None:
    told: list[str] = []
    report = runs.run("@fake/rig1", FAKE, _build, tell=told.append)
    assert report.error is None
    assert told == ["the kettle is on", "Change a thing: changed"]


@pytest.mark.parametrize("leave", [True, False])
def test_it_goes_on_only_with_leave_and_shows_before_what_would_change(leave: bool) -> None:
    seen: list[list[str]] = []

    def agree(report: Report) -> bool:
        seen.append(report.changes)
        return leave

    report = runs.run("@fake/rig1", FAKE, _build, agree=agree)
    assert seen == [["Change a thing"]]
    status = {step.name: step.status for step in report.steps}
    assert status["Change a thing"] == ("changed" if leave else "waiting")


def test_without_looking_ahead_no_change_is_known_before_it_is_made() -> None:
    report = runs.run("@fake/rig1", FAKE, _build, look_ahead=False)
    assert [(step.status, step.would_change) for step in report.steps] == [
        ("changed", False),
        ("unchanged", False),
    ]


def test_without_a_terminal_and_without_yes_it_is_one_line(inventory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deeprig_cli.cli", "deploy", "--inventory", str(inventory)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "--yes goes on unasked" in line and not done.stdout


@pytest.mark.parametrize("words", [("--no-such",), ("rig9", "--yes")])
def test_what_cannot_be_meant_is_2(inventory: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deeprig_cli.cli", "deploy", *words, "--inventory", str(inventory)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_box_that_is_refused_is_1_and_says_why(inventory: Path) -> None:
    done = deploy(inventory, "@fake/rig1", "--yes")
    assert done.exit_code == 1
    reason = "@fake/rig1: Notebook.user is 'ai', who is in group docker"
    assert reason in done.stdout and "docker" not in done.stderr  # it is said once
    found = json.loads(deploy(inventory, "--limit", "@fake/rig1", "--yes", "--json").stdout)
    assert [(one["host"], bool(one["refusals"]), one["changes"]) for one in found] == [
        ("@fake/rig1", True, [])
    ]


def test_of_several_each_has_its_own_end(inventory: Path) -> None:
    done = deploy(inventory, "--yes", "--json")
    assert done.exit_code == 1
    found = {one["host"]: one for one in json.loads(done.stdout)}
    assert list(found) == ["@fake/rig1", "@fake/rig2", "gone"]
    assert found["@fake/rig2"]["refusals"] and not found["gone"]["refusals"]
    assert found["gone"]["error"].startswith("gone: ")


def test_dry_is_what_plan_prints(inventory: Path) -> None:
    done = deploy(inventory, "@fake/rig1", "--dry", "--json")
    assert done.exit_code == 1
    [found] = json.loads(done.stdout)
    assert {"in_the_way", "reinstall_erases"} <= set(found) and found["refusals"]


def _outcome(*steps: tuple[str, str], error: str | None = None, name: str = "rig1") -> Outcome:
    found = [
        Step(
            name=said, status=status, would_change=status == "waiting",
            conditional=False, seconds=0.0, output="",
        )
        for said, status in steps
    ]  # fmt: skip
    return Outcome.of(Report(host=name, steps=found, error=error), Rig())


def test_json_has_the_keys_of_plan_but_what_only_plan_asks() -> None:
    report = Report(host="rig1")
    plan = plan_report.to_json(PlanReport(report=report, rig=Rig()), TODAY)
    mine = Outcome.of(report, Rig()).shown
    assert set(mine) == set(plan) - set(OF_A_LOOK) | {"seconds"}


def test_it_ends_with_pyinfras_summary() -> None:
    one = _outcome(("Base | Sleep", "changed"), ("Base | Wake", "unchanged"))
    two = _outcome(
        ("Base | Sleep", "failed"), ("Base | Wake", "waiting"),
        error="rig2 failed at: Base | Sleep", name="rig2",
    )  # fmt: skip
    lines = click.unstyle(deploy_report.page([one, two])).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["Operation", "Hosts", "Success", "Error", "No", "Change"],
        ["Base", "|", "Sleep", "2", "1", "1", "-"],
        ["Base", "|", "Wake", "1", "-", "-", "1"],
        ["Grand", "total", "3", "1", "1", "1"],
    ]
    assert lines[4] == "rig2 failed at: Base | Sleep"
    assert lines[5] == "1 of 2 boxes are well:"


def test_nobody_is_asked_where_nothing_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(command.screen, "confirm", lambda said, **_: asked.append(said))
    assert command._agree([_outcome(("Base | Wake", "unchanged"))])
    assert asked == []
    assert command._agree([_outcome(("Base | Wake", "waiting"))])
    assert asked == ["Go on?"]


def test_a_run_that_ends_without_a_word_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "PYTHON", (sys.executable, "-c", "import sys; sys.exit(3)"))
    [found] = several.deploy(tmp_path / "rigs.py", ["rig1"], lambda *said: None, None)
    assert found.error == "rig1: its run ended with 3 and no word of how; deploy again."


CUT_OFF = 'import sys; sys.stdout.write(\'{"proposed": {"host": "ri\'); sys.exit(9)'


def test_a_run_that_is_killed_while_it_speaks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Nobody waits for its proposal any more; before, whoever asked waited for ever."""
    monkeypatch.setattr(several, "PYTHON", (sys.executable, "-c", CUT_OFF))
    [found] = several.deploy(tmp_path / "rigs.py", ["rig1"], lambda *said: None, lambda _: True)
    assert found.error == "rig1: its run ended with 9 and no word of how; deploy again."
    kinds = {warning.category for warning in recwarn}
    assert pytest.PytestUnhandledThreadExceptionWarning not in kinds


def test_what_cannot_be_in_a_run_is_one_line(tmp_path: Path) -> None:
    """The file was changed meanwhile, say."""
    (tmp_path / "rigs.py").write_text("rigs = 1\n")
    told: list[str] = []
    [found] = several.deploy(tmp_path / "rigs.py", ["rig1"], lambda *said: told.append(said), None)
    assert found.error and "rigs.py has rigs = 1" in found.error and "\n" not in found.error


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_ctrl_c_is_one_word(names: tuple[str, ...], tmp_path: Path) -> None:
    inventory = tmp_path / "rigs.py"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        inventory.write_text(SILENT.format(port=port))
        with subprocess.Popen(
            # What runs in a script's background has this signal ignored, and hands that on.
            ["env", "--default-signal=INT", sys.executable, "-m", "deeprig_cli.cli", "deploy",
             *names, "--yes", "--json", "--inventory", str(inventory)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            met = [silent.accept() for _ in names]
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        for link, _ in met:
            link.close()
    assert (process.returncode, out, err.strip()) == (2, "", "Stopped.")


def test_ctrl_c_before_a_run_has_begun_is_silent() -> None:
    """While its modules are loaded nothing catches it, so few are."""
    asked = "import sys; import deeprig_cli.deploy.worker; print('pyinfra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_each_line_of_what_is_told_has_its_box(capsys: pytest.CaptureFixture[str]) -> None:
    command._tell("rig1", "one\nrig2: \x1b[32mall is well\x1b[0m")
    assert capsys.readouterr().err == "rig1: one\nrig1: rig2: \\x1b[32mall is well\\x1b[0m\n"


SPEAKS = """
import json, sys
found = {"host": "rig1", "error": None, "changes": ["a"], "steps": []}
found["shown"] = {}
print(json.dumps({"proposed": found}), flush=True)
answer = sys.stdin.readline().strip()
print(json.dumps({"tell": answer}), flush=True)
print(json.dumps({"ended": found | {"changes": [answer]}}), flush=True)
"""


@pytest.mark.parametrize(("leave", "word"), [(True, "go"), (False, "no")])
def test_all_are_asked_about_once(
    leave: bool, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "PYTHON", (sys.executable, "-c", SPEAKS))
    asked: list[list[Outcome]] = []
    told: list[tuple[str, str]] = []

    def agree(proposals: list[Outcome]) -> bool:
        asked.append(proposals)
        return leave

    found = several.deploy(tmp_path, ["a", "b"], lambda *said: told.append(said), agree)
    assert [len(proposals) for proposals in asked] == [2]
    assert sorted(told) == [("a", word), ("b", word)]
    assert [one.changes for one in found] == [[word], [word]]
