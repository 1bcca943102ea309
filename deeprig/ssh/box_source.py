"""The box's program: where it lies there, and its modules for a box that may not have it."""

import ast
from pathlib import Path

from deeprig import tree

# Where it lies on a box: a link to the folder in use.
FOLDER = "/usr/local/lib/deeprig/current"
BOX = f"{FOLDER}/deeprig-box"  # BOX COMMAND ...
SCRIPTS = f"{FOLDER}/bin"  # what needs no Python
PACKAGE = "deeprig_box"
ROOT = tree.ROOT / "box"
BEFORE = """import sys
from types import ModuleType
for name in {packages}:
    sys.modules.setdefault(name, ModuleType(name))
"""
ONE = """module = sys.modules[{name!r}] = ModuleType({name!r})
setattr(sys.modules[{package!r}], {leaf!r}, module)
exec({text!r}, module.__dict__)
"""


def text(module: str) -> str:
    """The module's own text, such as of deeprig_box.lib.bounded."""
    return _path(module).read_text()


def program(module: str) -> str:
    """What a program begins with that goes on with this module's names, by itself anywhere."""
    needs = _needs(module)
    packages = sorted({PACKAGE, *(name.rpartition(".")[0] for name in needs)})
    parts = [
        ONE.format(
            name=name, package=name.rpartition(".")[0], leaf=name.rpartition(".")[2],
            text=text(name),
        )
        for name in needs
    ]  # fmt: skip
    return "".join([BEFORE.format(packages=packages), *parts, text(module), "\n"])


def _needs(module: str) -> list[str]:
    """Those that it imports, each after those that it needs itself."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(text(module))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = {name if _path(name).exists() else str(node.module) for name in names}
            for name in sorted(ours):
                modules += [each for each in (*_needs(name), name) if each not in modules]
    return modules


def _path(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"
