"""The box's program: where it lies there, and its modules for a box that may not have it."""

import re
from pathlib import Path

# Where it lies on a box: a link to the folder in use.
FOLDER = "/usr/local/lib/deeprig/current"
BOX = f"{FOLDER}/deeprig-box"  # BOX COMMAND ...
SCRIPTS = f"{FOLDER}/bin"  # what needs no Python
PACKAGE = "deeprig_box"
ROOT = Path(__file__).parents[2] / "box"
OURS = re.compile(rf"^from ({PACKAGE}\.\w+) import (\w+)$", re.M)
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
    return (ROOT / f"{module.replace('.', '/')}.py").read_text()


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
    found: list[str] = []
    for package, leaf in OURS.findall(text(module)):
        name = f"{package}.{leaf}"
        found += [each for each in (*_needs(name), name) if each not in found]
    return found
