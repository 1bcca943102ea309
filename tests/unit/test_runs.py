"""A run that fails says why in a sentence, whatever it was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.runner import run as runs
from deeprig.settings import Rig
from deeprig.ssh import known_hosts
from tests.unit import ssh_server


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
