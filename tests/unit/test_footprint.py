"""What a component's removal looks at first: does anything run that would end with it?"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprig.operations import footprint
from deeprig.operations.footprint import Footprint
from tasks import containers, driver_absent, notebook, python_env


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One with a program that runs from it."""
    program = tmp_path / "python"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield tmp_path
        running.kill()


def asked(work: str) -> str:
    script = Footprint(work=work).would_end()
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def test_what_runs_is_named(folder: Path) -> None:
    assert "python" in asked(f"started_from(there, {str(folder)!r})")
    assert asked(f"started_from(there, {str(folder / 'other')!r})") == ""


@pytest.mark.parametrize(
    "left",
    [
        python_env.FOOTPRINT,
        containers.FOOTPRINT,
        notebook.FOOTPRINT,
        driver_absent.footprint(repository_stays=False),
    ],
)
def test_each_component_can_be_asked(left: Footprint) -> None:
    assert asked(left.work) != footprint.UNKNOWN


def test_what_cannot_be_told_is_no_leave_to_take_it_out() -> None:
    assert asked("1 / 0") == footprint.UNKNOWN
    script = Footprint(work="[]").would_end()
    assert shlex.quote(footprint.UNKNOWN) in script.partition("\n")[0]
