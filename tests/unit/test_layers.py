"""Imports run down: what import-linter cannot hold, for deploy.py and inventory.py are modules."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
[FOLDERS] = [
    each["layers"] for each in CONTRACTS["contracts"] if each["name"].startswith("The folders")
]
# deploy.py lies between the commands and the tasks; pyinfra executes inventory.py, above them all.
ORDER = [*FOLDERS[: FOLDERS.index("tasks")], "deploy", *FOLDERS[FOLDERS.index("tasks") :]]
# tasks/ has a module for each component, and tests/ mirrors what it tests.
SMALL = ("deeprig", "deeprig_cli", "box", "fast_ssh")
MOST = 20
BY_NAME = {"import_module", "__import__", "spec_from_file_location", "run_path", "run_module"}
# The list of commands, and somebody's inventory.
MAY_LOAD_BY_NAME = {"deeprig_cli/cli.py", "deeprig/inventories.py"}


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


def crowded(root: Path) -> dict[str, int]:
    """The folders that hold more modules than a reader takes in at once."""
    folders = [each for name in SMALL for each in (root / name, *root.glob(f"{name}/**/"))]
    counts = {str(each.relative_to(root)): len([*each.glob("*.py")]) for each in folders}
    return {folder: count for folder, count in counts.items() if count > MOST}


def test_no_folder_holds_too_many_modules() -> None:
    assert crowded(ROOT) == {}


def test_a_folder_with_one_more_is_named(tmp_path: Path) -> None:
    room = tmp_path / "box" / "deeprig_box" / "driver"
    room.mkdir(parents=True)
    for number in range(MOST):
        (room / f"m{number}.py").touch()
    assert crowded(tmp_path) == {}
    (room / "one_more.py").touch()
    assert crowded(tmp_path) == {"box/deeprig_box/driver": MOST + 1}


def test_each_folder_says_what_it_is() -> None:
    for name in (*SMALL, "tasks"):
        for package in {file.parent for file in sources(name)} - {ROOT / "box"}:
            said = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
            assert said and said.splitlines()[0].endswith((".", ";", ":")), package
