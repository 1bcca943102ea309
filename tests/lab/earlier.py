"""deeprig as it was before the program on a box was one package: its tree, and runs of its code."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.conftest import PYINFRA, ROOT

COMMIT = "93cdd24c5e9ba7a3327065fdeffb20a0cdf79edc"
MAIN = "import sys; from deeprig.cli import main; sys.exit(main())"


@contextmanager
def tree() -> Iterator[Path]:
    """That commit's files, from the repository's history; skips where that does not reach so far.

    Its own lock has the same packages but for those of its tests, so today's environment runs it.
    """
    asked = ["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    if subprocess.run(asked, capture_output=True).returncode:
        pytest.skip(f"the history here does not reach back to {COMMIT[:7]}")
    with tempfile.TemporaryDirectory(prefix="deeprig-lab-") as folder:
        packed = subprocess.run(
            ["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder)


def deploy(tree: Path, inventory: Path, code: str = "deploy.py") -> None:
    """Its `pyinfra -y <inventory> deploy.py`, which must go well; or other code of its time."""
    _run(tree, [PYINFRA, "-y", str(inventory), code], 3000)


def deeprig(tree: Path, *words: str) -> str:
    """What its `deeprig` prints, which must go well."""
    return _run(tree, [sys.executable, "-c", MAIN, *words], 300)


def _run(tree: Path, command: list[str], seconds: float) -> str:
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def loose_files(tree: Path) -> set[str]:
    """What it has in /usr/local/lib/deeprig on a box with each of its parts."""
    return {file.name for file in (tree / "files/usr/local/lib/deeprig").iterdir()}


def left_of(tree: Path, there: str) -> set[str]:
    """Which of its files these are, of what `ls` prints."""
    return {*there.split()} & {*loose_files(tree), "__pycache__"}


def who_names_them(tree: Path) -> str:
    """A command that prints each file of the system's settings or of a home that calls one."""
    names = "|".join(sorted(name.replace(".", "[.]") for name in loose_files(tree)))
    return (
        f"sudo grep -rIlE '/usr/local/lib/deeprig/({names})([^a-z_.-]|$)' /etc /home/*/.[a-z]* "
        "/var/lib/deeprig /usr/local/bin /usr/local/sbin 2>/dev/null || true"
    )
