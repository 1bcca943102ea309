"""Programs of the box's scripts end in time, also those that no signal ends."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit import unkillable
from tests.unit.box_scripts import loaded


@pytest.fixture
def bounded() -> Iterator[ModuleType]:
    with loaded("lib.bounded") as module:
        yield module


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Path]:
    """A file whose reader is in state D."""
    with unkillable.folder(tmp_path) as folder:
        yield folder / "file"


def test_the_stand_in_is_ended_by_no_signal(silent: Path) -> None:
    """The control: this is what `subprocess.run(timeout=)` waits for after its kill."""
    process = subprocess.Popen(["cat", silent])
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "D"
    process.returncode = -signal.SIGKILL


def test_a_program_in_state_d_is_given_up(bounded: ModuleType, silent: Path) -> None:
    started = time.monotonic()
    done = bounded.run(["cat", silent], seconds=0.5)
    assert time.monotonic() - started < 5
    assert (done.code, done.last_words) == (124, "cat has not ended within 0.5 s")


def test_so_is_one_that_a_check_sends_to_a_box(silent: Path) -> None:
    from deeprig.ssh import bounded as sent

    done = subprocess.run(
        ["sh", "-c", sent.command("cat", str(silent), seconds=1)],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (124, "cat has not ended within 1 s")


def test_what_it_started_ends_with_it(bounded: ModuleType, tmp_path: Path) -> None:
    there = tmp_path / "pid"
    bounded.run(["sh", "-c", f"sleep 60 & echo $! >{there}; wait"], seconds=0.5)
    time.sleep(0.2)
    stat = Path(f"/proc/{there.read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(") ")[2][0] == "Z"


def test_it_says_what_the_program_says(bounded: ModuleType, tmp_path: Path) -> None:
    assert bounded.run(["cat"], stdin="in") == (0, b"in", "")
    assert bounded.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, b"out\n", "err\n")
    assert bounded.run(["sh", "-c", r"printf 'a\377b'"]).out == "a\ufffdb"
    assert bounded.run(["pwd"], folder=tmp_path).out == f"{tmp_path}\n"
    assert bounded.run(["no-such-program"]) == (127, b"", "no-such-program is not there")
    assert bounded.run(["/etc/passwd"]).last_words == "/etc/passwd cannot be run: Permission denied"


def test_who_holds_its_output_is_not_waited_for(bounded: ModuleType) -> None:
    started = time.monotonic()
    assert bounded.run(["sh", "-c", "sleep 3 & echo out"]).out == "out\n"
    assert time.monotonic() - started < 2


def test_it_speaks_english_where_it_is_read(
    bounded: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    ask = ["sh", "-c", "echo $LC_ALL$LANGUAGE$A"]
    assert bounded.run(ask, environment={"A": "1"}).out == "C1\n"
    assert bounded.run(ask, english=False).out == "de_DE.UTF-8de\n"


def test_it_is_in_a_session_of_its_own(bounded: ModuleType) -> None:
    pid, session = bounded.run(["sh", "-c", "echo $$ $(ps -o sid= -p $$)"]).out.split()
    assert pid == session
