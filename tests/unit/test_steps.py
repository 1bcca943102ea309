"""A step in Python of an operation: the box may go away while it talks with it."""

import ast
from pathlib import Path
from typing import Any, cast

import paramiko
import pytest
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deeprig.operations import core
from deeprig.operations.core import Step
from fast_ssh.errors import ShellLost

TASKS = Path(core.__file__).parent


def run(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, list[str]]:
    """What the step came to, and what was said of it."""
    said: list[str] = []

    def say(_: Host, sentence: str, *, wrong: bool = False) -> None:
        said.append(sentence)

    def function(state: Any, host: Any, number: int) -> bool:
        assert (state, host, number) == ("state", "host", 7)
        if error:
            raise error
        return True

    monkeypatch.setattr(core, "say", say)
    done = Step(function, 7).execute(
        cast(State, "state"), cast(Host, "host"), cast(ConnectorArguments, {})
    )
    return done, said


@pytest.mark.parametrize(
    "error",
    [ShellLost("the connection is gone"), EOFError("it is gone"), paramiko.SSHException("no")],
)
def test_a_link_that_goes_is_a_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(error, monkeypatch) == (False, [f"{error}."])


def test_what_pyinfra_said_is_not_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(PyinfraError("No hosts remaining!"), monkeypatch) == (False, [])


def test_a_fault_of_ours_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        run(KeyError("x"), monkeypatch)
    assert run(None, monkeypatch) == (True, [])


def test_each_step_of_the_tasks_is_one_of_these() -> None:
    found = [
        f"{file.name}:{node.lineno}"
        for file in sorted(TASKS.glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("FunctionCommand")
    ]
    assert found == []
