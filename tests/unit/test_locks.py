"""Locks of ours that nobody else can hold: whoever may open a file to read it may lock it."""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from tests.unit.box_scripts import loaded


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def locked() -> list[int]:
    """The modes of what this process holds a lock on."""
    modes = []
    for info in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # the listing's own
            if "FLOCK" in info.read_text():
                modes.append(stat.S_IMODE(os.fstat(int(info.name)).st_mode))
    return modes


def modes_within(lock: AbstractContextManager[object]) -> list[int]:
    assert locked() == []  # the control: it is this lock that is seen
    with lock:
        return locked()


@pytest.mark.parametrize("before", [None, 0o644])
def test_nobody_else_holds_up_the_boot_guard(tmp_path: Path, before: int | None) -> None:
    """What holds it holds up apt, which has it look after each package that was installed."""
    with loaded("boot.state") as record:
        record.LOCK = tmp_path / "lock"
        if before:
            record.LOCK.touch(before)
        assert modes_within(record.alone()) == [0o600]


def test_nobody_else_holds_up_an_environment(tmp_path: Path) -> None:
    """Homes that others may look into are on many a box."""
    envs = tmp_path / "envs"
    envs.mkdir(0o755)
    with loaded("python.step") as step:
        assert modes_within(step.alone(envs)) == [0o600]
        assert [path.name for path in envs.glob("*")] == [".deeprig.lock"]


def test_nobody_else_holds_up_the_watch(tmp_path: Path) -> None:
    os.umask(0o077)  # as it sets it
    with loaded("watch.state") as record:
        record.STATE = tmp_path / "watch.json"
        assert modes_within(record.alone()) == [0o600]
