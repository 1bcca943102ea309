"""Nothing on a box is waited for without end: each limit holds for a process in state D too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("box", "deeprig/operations", "tasks", "tests/host")
# What starts programs by itself, and why it may.
MAY = {
    "bounded.py": "the one that gives up",
    "as_user.py": "it reads both pipes as they come, and gives up by bounded.leave",
    "step.py": "a step may take hours; it is given up where nothing comes",
    "steps.py": "apt may build for hours, and says so; a person sees that it hangs",
    "window.py": "a stop that nobody waits for",
}
STARTS = {
    ("subprocess", name)
    for name in ("run", "Popen", "call", "check_call", "check_output", "getoutput")
} | {("os", name) for name in ("system", "popen", "spawnv", "spawnvp", "posix_spawn")}
# `nvidia-smi` where a command begins, not in prose.
WITH_A_LIMIT = ("ask", "bounded.run", "bounded.command", "shutil.which")
ASKS = re.compile(r"(?:^|[;&|({])\s*nvidia-smi(?= -| topo|\s*$)")


def programs() -> Iterator[Path]:
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                first = path.read_text(errors="replace").partition("\n")[0]
                if path.suffix == ".py" or "python" in first:
                    yield path


def starts(tree: ast.AST) -> list[str]:
    """What starts a program by other means than `bounded.run`."""
    return [
        f"{node.lineno}: {node.func.value.id}.{node.func.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in STARTS
    ]


def asks_the_driver(tree: ast.AST) -> list[str]:
    """Shell commands with nvidia-smi in them that are handed to whoever sets no limit."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    bounded = [call for call in calls if ast.unparse(call.func) in WITH_A_LIMIT]
    fine = {id(word) for call in bounded for word in ast.walk(call)}
    handed = {id(word): word for call in calls for word in ast.walk(call) if id(word) not in fine}
    return [
        f"{word.lineno}: {word.value}"
        for word in handed.values()
        if isinstance(word, ast.Constant)
        and isinstance(word.value, str)
        and ASKS.search(word.value)
    ]


def test_every_program_of_a_box_is_run_with_a_limit() -> None:
    found = {
        str(path.relative_to(ROOT)): starts(ast.parse(path.read_text()))
        for path in programs()
        if path.name not in MAY
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_nobody_asks_the_driver_without_a_limit() -> None:
    found = {
        str(path.relative_to(ROOT)): asks_the_driver(ast.parse(path.read_text()))
        for path in programs()
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_those_that_may_are_there_and_do() -> None:
    there = {path.name: path for path in programs()}
    assert {name for name in MAY if starts(ast.parse(there[name].read_text()))} == set(MAY)


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess\nsubprocess.run(['true'], timeout=5)\n",
        "import subprocess\nwith subprocess.Popen('x') as p: pass\n",
        "import os\nos.system('true')\n",
    ],
)
def test_the_rule_sees_a_new_one(text: str) -> None:
    assert starts(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "host.run('nvidia-smi')",
        "host.check_output(f'nvidia-smi topo -m')",
        "shell(unless='nvidia-smi -L >/dev/null || echo')",
        "subprocess.run(['nvidia-smi', '-L'])",
    ],
)
def test_the_rule_sees_a_new_question_to_the_driver(text: str) -> None:
    assert asks_the_driver(ast.parse(text))
