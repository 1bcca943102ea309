"""Where in the inventory a setting was written, so that an error can say it."""

import ast
import traceback
from pathlib import Path

from deeprig import tree

OURS = [tree.CODE / name for name in ("deeprig", "deeprig_cli")]


def caller_location() -> str:
    """`inventory.py line 12, rig1.lan: ` for the inventory line being executed; "" if unknown."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        ours = any(folder in path.parents for folder in OURS)
        if ours or "site-packages" in path.parts or not path.is_file():
            continue
        host = _box_around(path, frame.lineno or 0)
        return f"{path.name} line {frame.lineno}{f', {host}' if host else ''}: "
    return ""


def _box_around(path: Path, line: int) -> str | None:
    """The name in the `box("name", ...)` call that spans this line, if one does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "box"
            and node.lineno <= line <= (node.end_lineno or node.lineno)
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            return str(node.args[0].value)
    return None
