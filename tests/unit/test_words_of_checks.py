"""A check that fails says what is so, in words: `assert all(...)` says nothing to who reads it."""

import ast
from pathlib import Path

import pytest

HOST = Path(__file__).parents[1] / "host"
# What asks programs that say anything at all when they fail, so each comparison has its words.
IN_WORDS = ("test_gpu_live.py",)
# Only for the type checker: it was asked for before.
KNOWN = ("rig.driver", "rig.notebook")


def silent(tree: ast.AST, *, every: bool) -> list[str]:
    """Asserts without a message whose failure says no more than False; with `every` all without."""
    return [
        f"{node.lineno}: {ast.unparse(node.test)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and node.msg is None
        and ast.unparse(node.test) not in KNOWN
        and (every or says_nothing(node.test))
    ]


def says_nothing(test: ast.expr) -> bool:
    while isinstance(test, ast.UnaryOp):
        test = test.operand
    return (
        isinstance(test, ast.Call)
        and isinstance(test.func, ast.Name)
        and test.func.id in ("all", "any")
    )


@pytest.mark.parametrize("path", sorted(HOST.glob("*.py")), ids=lambda path: path.name)
def test_no_check_fails_without_a_word(path: Path) -> None:
    assert silent(ast.parse(path.read_text()), every=path.name in IN_WORDS) == []


def test_the_rule_sees_them() -> None:
    assert silent(ast.parse("assert all(x for x in y)"), every=False)
    assert silent(ast.parse("assert not any(x for x in y)"), every=False)
    assert silent(ast.parse("assert a == b"), every=True)
    assert not silent(ast.parse("assert a == b"), every=False)
    assert not silent(ast.parse("assert all(x), 'x'"), every=True)
