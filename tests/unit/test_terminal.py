"""pyinfra without a terminal: one line, and no traceback."""

import subprocess
import sys
from pathlib import Path

INVENTORY = """
from deeprig.settings import Rig, box
rigs = [("@fake/a", dict(box("a", rig=Rig())[1]))]
"""
CODE = """
from pyinfra.operations import files
files.file(path="/nowhere/x")
"""


def test_a_question_that_nobody_can_answer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "inventory.py").write_text(INVENTORY)
    (tmp_path / "code.py").write_text(CODE)
    done = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), "inventory.py", "code.py"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "there is no terminal to answer on; add -y" in done.stderr.splitlines()[-1]
