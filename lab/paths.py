"""Where the lab keeps its files, and the locks that let several `deeprig lab` run at once."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def state() -> Path:
    """One folder for each box."""
    return platformdirs.user_state_path("deeprig") / "lab"


def images() -> Path:
    """One folder for each base system that was built."""
    return platformdirs.user_cache_path("deeprig") / "lab" / "images"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` as a lock; waits for whoever has it. A process that dies lets go of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def shared() -> Iterator[None]:
    """Hold what the boxes share: the list of addresses and the network."""
    with locked(state() / ".locks" / "shared"):
        yield


@contextmanager
def one_box(name: str) -> Iterator[None]:
    """Hold one box, so that an `up` and a `down` of it come one after the other."""
    with locked(state() / ".locks" / f"box-{name}"):
        yield
