"""A local variable is called what it is: that something was found tells a reader nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("deeprig", "deeprig_cli", "tasks", "box", "fast_ssh", "lab")
EMPTY = {"found", "said", "there", "asked", "wanted"}


def empty_names(source: str) -> Iterator[tuple[int, str]]:
    """Where one of them is assigned, in a loop and a comprehension too; a class's fields are not
    local: what they belong to is said with them.
    """
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in EMPTY:
            yield node.lineno, node.id
        children = ast.iter_child_nodes(node)
        is_class = isinstance(node, ast.ClassDef)
        nodes += [
            child for child in children if not (is_class and isinstance(child, ast.AnnAssign))
        ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_says_what_it_is(folder: str) -> None:
    files = sorted(Path(ROOT, folder).rglob("*.py"))
    assert files
    empty = {
        f"{file.relative_to(ROOT)} line {line}: {name}"
        for file in files
        for line, name in empty_names(file.read_text())
    }
    assert empty == set()


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "def f():\n    said: str = ''",
        "class A:\n    def f(self):\n        there, here = 1, 2",
        "if asked := f(): pass",
        "x = [wanted for wanted in y]",
        "with f() as found: pass",
    ],
)
def test_the_rule_sees_one(source: str) -> None:
    assert [*empty_names(source)]


def test_a_field_and_a_parameter_may_be_called_so() -> None:
    assert not [*empty_names("class A:\n    said: str\ndef f(found): return found.said")]
