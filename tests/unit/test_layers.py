"""Imports run down: what import-linter cannot hold, for deploy.py and inventory.py are modules."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
[FOLDERS] = [each["layers"] for each in CONTRACTS["contracts"] if "containers" not in each]
# deploy.py lies between the commands and the tasks; pyinfra executes inventory.py, above them all.
ORDER = [*FOLDERS[: FOLDERS.index("tasks")], "deploy", *FOLDERS[FOLDERS.index("tasks") :]]
BY_NAME = {"import_module", "__import__", "spec_from_file_location", "run_path", "run_module"}
# The list of commands, and somebody's inventory.
MAY_LOAD_BY_NAME = {"deeprig_cli/cli.py", "deeprig/inventory.py"}


def sources(folder: str) -> list[Path]:
    return sorted(Path(ROOT, folder).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """The first part of each module that it imports, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def ours(file: Path) -> set[str]:
    return set(imported(file.read_text())) & {*ORDER, "inventory", "tests", "tools"}


def test_an_import_in_a_function_is_seen() -> None:
    source = "import a.b\ndef f():\n    from c.d import e\n    import g\n"
    assert list(imported(source)) == ["a", "c", "g"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_what_is_below_it(folder: str) -> None:
    below = {*ORDER[ORDER.index(folder) :]}
    found = {str(file.relative_to(ROOT)): ours(file) - below for file in sources(folder)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_order_of_work_stands_on_tasks_and_the_boxes_on_settings() -> None:
    assert ours(ROOT / "deploy.py") == {"tasks", "deeprig"}
    assert ours(ROOT / "inventory.py") == {"deeprig"}


def test_no_import_is_let_off() -> None:
    assert not [each for each in CONTRACTS["contracts"] if "ignore_imports" in each]


def test_no_module_is_loaded_by_a_string_but_a_command() -> None:
    found = set()
    for folder in FOLDERS:
        for file in sources(folder):
            for node in ast.walk(ast.parse(file.read_text())):
                called = node.func if isinstance(node, ast.Call) else None
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name in BY_NAME:
                    found.add(str(file.relative_to(ROOT)))
    assert found == MAY_LOAD_BY_NAME
