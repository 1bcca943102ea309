"""Throwaway boxes for tests: made for a module, named after it, taken down at its end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import paramiko
import pytest

from deeprig import inventories
from deeprig.runner import runs
from deeprig.settings import Rig
from deeprig.ssh import connection
from lab import boxes, cgroups, requirements

ROOT = Path(__file__).parents[2]
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
DEEPRIG = str(Path(sys.executable).with_name("deeprig"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--os", default="debian-13", help="the system of the boxes")
    parser.addoption("--kind", default="container", help="what the boxes are: container or vm")


@pytest.fixture(scope="session", autouse=True)
def what_the_lab_needs() -> None:
    """mmdebstrap and the like, on a machine that has never had a box."""
    requirements.install(print)


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """A bootstrapped box that nothing was deployed to; KEEP=1 leaves it up to be looked at."""
    system = str(request.config.getoption("--os"))
    name = request.module.__name__.rsplit("test_", 1)[-1].replace("_", "-")[:12]
    name = f"t-{name}-{system.split('-')[0][0]}{system.split('-')[1][:2]}"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)  # what a test run that was cut off left behind
    made = boxes.up(name, os=system, kind=str(request.config.getoption("--kind")))
    yield made
    if not os.environ.get("KEEP"):
        boxes.down(name)


# A plan is of its day, and the lanes name what is planned: the planner takes that for today.
ON_A_DAY = """
import datetime
from deeprig.resolver import resolve

class _Day(datetime.date):
    today = classmethod(lambda cls: cls({0.year}, {0.month}, {0.day}))

resolve.date = _Day
"""
TABLES_DAY = date(2026, 11, 30)


def variant(
    box: boxes.Box, file: Path, *replacements: tuple[str, str], day: date = TABLES_DAY
) -> Path:
    """The box's inventory with some words replaced and a day for its plan, in a file of its own."""
    text = box.inventory.read_text()
    for old, new in replacements:
        assert old in text, f"the lab's inventory has no {old}"
        text = text.replace(old, new)
    file.write_text(text + ON_A_DAY.format(day))
    return file


@pytest.fixture
def changed(box: boxes.Box, tmp_path: Path) -> Callable[..., Path]:
    """Make the box's inventory with some words replaced, each an (old, new)."""
    return lambda *replacements: variant(box, tmp_path / "inventory.py", *replacements)


def wait_for(what: Callable[[], bool], seconds: float, *, every: float = 0.3) -> float:
    """Seconds until it is so; an AssertionError if it does not come about in time."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(every)
    return time.monotonic() - started


def host_data(box: boxes.Box) -> dict[str, object]:
    """The box as its inventory file has it now; read anew, since a proved port moves the door."""
    [(_, data)] = inventories.load(box.inventory)
    return data


@pytest.fixture
def login(box: boxes.Box) -> Iterator[Callable[..., str]]:
    """Run a command on the box as the deploy user, through a login of its own."""

    def run(command: str, *, port: int | None = None, check: bool = True) -> str:
        client = connection.connect(host_data(box), port=port)
        try:
            return shell(client, command, check=check)
        finally:
            client.close()

    yield run


def shell(client: paramiko.SSHClient, command: str, *, check: bool = True) -> str:
    """What a command prints; an AssertionError with its errors where it fails."""
    _, output, errors = client.exec_command(command, timeout=120)
    text = output.read().decode()
    status = output.channel.recv_exit_status()
    assert status == 0 or not check, f"{command} ended with {status}: {errors.read().decode()}"
    return text


def deploy(by: boxes.Box | Path, code: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`pyinfra -y <inventory> deploy.py`, as a user runs it: a box's own inventory, or another;
    or with less to deploy.
    """
    return subprocess.run(
        _pyinfra(by, code), cwd=ROOT, capture_output=True, text=True, check=False, timeout=3000
    )


def cut_while(
    box: boxes.Box, words: str, seconds: float, file: Path | None = None, *, program: str = ""
) -> None:
    """Deploy, cut the power some time after these words were said, and power on again.

    With `program` it is cut once that runs on the box, a container.
    """

    def cut() -> None:
        if program:
            wait_for(lambda: program in running(box), 120)
        boxes.cut(box.name, off=True)

    with subprocess.Popen(
        _pyinfra(file or box),
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said, timer = "", threading.Timer(seconds, cut)
        for line in process.stdout:
            said += line
            # Once: a second one would wait for its program, and cut the next deploy's power.
            if words in line and timer.ident is None:
                timer.start()
    assert words in said, said
    timer.join()
    assert process.returncode != 0, f"the power cut after {words!r} went unnoticed:\n{said}"
    assert "Traceback" not in said
    boxes.up(box.name)


def running(box: boxes.Box) -> set[str]:
    """The names of the programs that run in a container, as this machine sees them."""
    names = set()
    for pid in cgroups.pids(box.name):
        with suppress(OSError):  # it may have ended while we look
            names.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def _pyinfra(by: boxes.Box | Path, code: Path | None = None) -> list[str]:
    inventory = by if isinstance(by, Path) else by.inventory
    return [PYINFRA, "-y", str(inventory), str(code or "deploy.py")]


def run_on(box: boxes.Box, build: Callable[[Rig], None], *, dry: bool = False) -> runs.Report:
    """One run of `build` through pyinfra's API."""
    return runs.run(box.name, host_data(box), build, dry=dry)
