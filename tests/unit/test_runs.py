"""A run that fails says why in a sentence, whatever it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig.errors import DeeprigError
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from deeprig.ssh import known_hosts
from tasks import base
from tests.unit import ssh_server
from tests.unit.recorded import DEBIAN_13


class Failing(BoxFact[list[str]]):
    default = list

    def command(self) -> str:
        return "echo a line before; echo FileNotFoundError: gone >&2; exit 1"

    def process(self, output: list[str]) -> list[str]:
        return output


@operation()
def _asks() -> Commands:
    host.get_fact(Failing, _sudo=False)
    yield StringCommand("true")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[bool], runs.Report]]:
    with ssh_server.serve({"PATH": "/usr/bin:/bin"}) as server:
        data = ssh_server.data(server, tmp_path) | {"rig": Rig(connection="ssh")}
        known_hosts.pin(tmp_path / "known_hosts", "127.0.0.1", server.port, server.host_key)
        yield lambda dry: runs.run("box", data, lambda rig: _asks(name="Ask"), dry=dry)


@pytest.mark.parametrize("dry", [True, False])
def test_a_question_that_fails_is_a_sentence(run: Callable[[bool], runs.Report], dry: bool) -> None:
    error = run(dry).error
    assert error == (
        "box: a question could not be answered there (Failing: FileNotFoundError: gone)."
    )


@pytest.mark.parametrize("how", ["ssh", "fast"])
def test_a_run_that_has_ended_is_logged_out(
    how: Literal["ssh", "fast"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []  # as a program that goes on keeps what it has not thrown away yet

    def make(*args: Any, **options: Any) -> State:
        kept.append(State(*args, **options))
        return kept[-1]

    monkeypatch.setattr(runs, "State", make)
    with ssh_server.serve({"PATH": "/usr/bin:/bin"}) as server:
        data = ssh_server.data(server, tmp_path) | {"rig": Rig(connection=how)}
        known_hosts.pin(tmp_path / "known_hosts", "127.0.0.1", server.port, server.host_key)
        runs.run("box", data, lambda rig: _asks(name="Ask"), dry=True)
        [link] = server.transports
        link.join(5)
        assert not link.is_active()


FAKE = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}
ANSWERS = {"USERS=": "\n".join(DEBIAN_13), "sudo -n true": "yes"}


def test_what_a_run_saw_is_in_its_report_though_it_fails_later() -> None:
    def build(rig: Rig) -> None:
        assert base.look(rig)
        raise DeeprigError("the roof is gone.")

    report = runs.run("@fake/rig1", {**FAKE, "fake_responses": ANSWERS}, build, dry=True)
    assert report.error == "@fake/rig1: the roof is gone."
    assert report.survey and report.survey.name == "Debian GNU/Linux 13 (trixie)"
    assert report.refusals == []


def test_each_run_has_a_report_of_its_own_and_pyinfras_cli_has_none() -> None:
    seen: list[Report] = []

    def build(rig: Rig) -> None:
        seen.append(runs.report_of(host))
        runs.report_of(host).refusals = ["it is a Tuesday."]
        host.state.fail_hosts({host})

    first, second = (runs.run("@fake/rig1", FAKE, build, dry=True) for _ in range(2))
    assert [id(report) for report in seen] == [id(first), id(second)]
    assert first.error == "@fake/rig1: it is a Tuesday."

    state = State(Inventory((["@fake/rig1"], FAKE)), Config())  # as the CLI makes it
    [alone] = state.inventory
    runs.report_of(alone).refusals = ["nobody reads this."]
    assert runs.report_of(alone) == Report(host="@fake/rig1")
