"""What pyinfra and paramiko keep to themselves and is touched all the same: why the version of
pyinfra is pinned so narrowly, and what to look at before the pin moves.
"""

import ast
import inspect
import tomllib
import typing
from importlib.metadata import version
from pathlib import Path

import paramiko
import pyinfra
from pyinfra.api import arguments, facts, util
from pyinfra.api.operation import OperationMeta, operation

ROOT = Path(__file__).parents[2]
FOLDERS = ("fast_ssh", "deeprig", "deeprig_cli", "tasks")
TOUCHED = {
    "deeprig": {
        "._do_confirm",  # pyinfra's question, which without a terminal ends in a traceback
        "._inner",  # an operation's own generator, for an operation made of it
        "._maybe_is_change",  # whether a step that has not run would change something
    },
    "deeprig_cli": set(),
    "fast_ssh": {
        "._get_fact",  # by its code it is known that a command only asks
        "._getframe",  # Python's own: who calls
        "._wait_for_event",  # paramiko's: a request that waits for its answer
        "util.stack",
        "util.getframeinfo",
        "arguments.get_type_hints",  # these three are put in the place of pyinfra's own
    },
    "tasks": {"._inner"},
}
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields"}
MODULES = {"util", "arguments", "facts"}  # of pyinfra, as they are imported here


def touched(source: str) -> set[str]:
    """Names with an underscore of what is not one's own, and names that are put into pyinfra."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        of = node.value.id if isinstance(node.value, ast.Name) else ""
        if isinstance(node.ctx, ast.Store) and of in MODULES:
            found.add(f"{of}.{node.attr}")
        private = node.attr.startswith("_") and not node.attr.startswith("__")
        if private and of not in ("self", "cls") and node.attr not in OF_NAMED_TUPLES:
            found.add(f".{node.attr}")
    return found


def test_what_is_touched_is_seen() -> None:
    source = "a._b\nself._c\nutil.d = 1\nutil.e\nf._replace(g=1)\nsuper()._h()\n"
    assert touched(source) == {"._b", "util.d", "._h"}


def test_each_private_name_is_known() -> None:
    for folder in FOLDERS:
        sources = [file.read_text() for file in Path(ROOT, folder).rglob("*.py")]
        assert set().union(*map(touched, sources)) == TOUCHED[folder], folder


def test_each_is_what_it_is_taken_for() -> None:
    @operation()
    def nothing() -> typing.Generator[str, None, None]:
        yield "true"

    assert inspect.isgeneratorfunction(nothing._inner)
    assert inspect.isfunction(facts._get_fact)
    assert "run_shell_command" in facts._get_fact.__code__.co_names
    assert "_maybe_is_change" in inspect.getsource(OperationMeta)
    cli = Path(pyinfra.__file__).parents[1] / "pyinfra_cli/cli.py"  # importing it patches sockets
    assert "\ndef _do_confirm(" in cli.read_text()
    assert inspect.isfunction(paramiko.Channel._wait_for_event)  # type: ignore[attr-defined]
    for module, name in ((util, "stack"), (util, "getframeinfo"), (arguments, "get_type_hints")):
        assert callable(getattr(module, name))


def test_pyinfra_is_pinned_as_narrowly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "pyinfra>=3.10,<3.11" in project["dependencies"]
    assert version("pyinfra").startswith("3.10.")
