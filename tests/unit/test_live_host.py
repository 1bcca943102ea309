"""What checks ask of a box: all at once what they only read, anew what may have changed.

The box is this machine behind an SSH server of the test's own, sudo a stand-in.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from testinfra.host import Host

from deeprig.settings import Rig
from deeprig_cli.verify import live_host
from fast_ssh import sending
from tests.unit import ssh_server
from tests.unit.local_shell import environment
from tests.unit.ssh_server import Server


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    ps = tmp_path / "ps"  # how long ago this machine itself started is of no interest
    ps.write_text("#!/bin/sh\necho $UP\n")
    ps.chmod(0o755)
    env = environment(tmp_path) | {"SHELL": "/bin/sh", "UP": "3600"}
    with ssh_server.serve(env) as running:
        yield running


Session = Callable[..., AbstractContextManager[Host]]


@pytest.fixture
def session(box: Server, tmp_path: Path) -> Session:
    """One run of the checks."""
    key = f"[127.0.0.1]:{box.port} {box.host_key.get_name()} {box.host_key.get_base64()}\n"
    Path(tmp_path, "known_hosts").write_text(key)

    @contextmanager
    def begun(connection: Any = "fast") -> Iterator[Host]:
        data = ssh_server.data(box, tmp_path) | {"rig": Rig(connection=connection)}
        host = live_host.connect("rig1", data, tmp_path / "questions")
        yield host
        host.backend.close()

    return begun


def appears(word: str, file: Path, seconds: float = 5) -> bool:
    """Whether it stands there within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if file.exists() and word in file.read_text():
            return True
        time.sleep(0.05)
    return False


def test_what_the_last_run_asked_is_asked_with_the_first_question(
    session: Session, box: Server, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with session() as host:
        said = [host.check_output(f"echo {word} | tee -a {log}") for word in ("one", "two")]
    assert said == ["one", "two"]
    log.unlink()
    with session() as host:
        host.check_output(f"echo one | tee -a {log}")
        assert appears("two", log)
    assert len(box.commands) == 2  # a shell for each run


def test_a_box_that_has_just_started_is_asked_one_by_one(
    session: Session, box: Server, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    ahead = []
    for up in ("3600", "3600", "20"):
        box.env["UP"] = up
        log.write_text("")
        with session() as host:
            host.check_output(f"echo one | tee -a {log}")
            ahead.append(appears("two", log, seconds=1))
            host.check_output(f"echo two | tee -a {log}")
    assert ahead == [False, True, False]


def test_roots_questions_go_by_a_shell_of_their_own(
    session: Session, box: Server, tmp_path: Path
) -> None:
    for _ in range(2):
        with session() as host:
            assert host.check_output("echo $AS_ROOT") == ""
            with host.sudo():
                assert host.check_output("echo $AS_ROOT") == "yes"
                assert host.check_output("echo again; exit 0") == "again"
    assert Path(tmp_path, "sudo.log").read_text().count("\n") == 2  # one for each run
    assert len(box.commands) == 4


def test_after_a_check_that_changes_something_all_is_asked_anew(
    session: Session, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with session() as host:
        assert [host.check_output("true"), host.check_output(f"cat {file}")] == ["", "old"]
    with session() as host:
        host.check_output("true")  # and cat, ahead
        host.backend.begin(changes=True)
        host.check_output(f"echo new > {file}")
        host.backend.begin(changes=False)
        assert host.check_output(f"cat {file}") == "new"


def test_a_check_that_asks_again_sees_what_is_so_then(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with session() as host:
        for word in ("old", "new"):
            file.write_text(word)
            assert host.check_output(f"cat {file}") == word
        host.backend.begin(changes=False)
        file.write_text("newer")
        assert host.check_output(f"cat {file}") == "old"  # the control: another check need not ask


def test_what_changes_something_is_never_asked_ahead(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        with session() as host:
            host.check_output("true")
            host.backend.begin(changes=True)
            host.check_output(f"echo changed >> {log}")
    assert log.read_text() == "changed\n" * 2
    records = "".join(file.read_text() for file in Path(tmp_path, "questions").iterdir())
    assert "true" in records
    assert "changed" not in records


def test_over_the_plain_connection_each_command_has_its_channel(
    session: Session, box: Server, tmp_path: Path
) -> None:
    with session("ssh") as host:
        host.check_output("echo one")
        host.check_output("echo two")
    assert len(box.commands) == 2
    assert not Path(tmp_path, "questions").exists()


@pytest.mark.parametrize("connection", ["fast", "ssh"])
def test_a_command_that_hangs_is_given_up_and_the_next_is_answered(
    session: Session, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    monkeypatch.setattr(live_host, "DO_SECONDS", 1)
    with session(connection) as host:
        host.backend.begin(changes=True)
        with pytest.raises(paramiko.SSHException, match=r"(within|has) 1 s"):
            host.run("sleep 30")
        assert host.check_output("echo on") == "on"


@pytest.mark.parametrize("connection", ["fast", "ssh"])
def test_what_is_no_utf_8_is_an_answer(session: Session, connection: str) -> None:
    with session(connection) as host:
        assert host.check_output(r"printf 'a\377b'") == "a\ufffdb"


def test_a_check_that_does_something_has_its_own_time_on_the_plain_connection(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card is compiled for; the 300 seconds of a question ended that without a word."""
    monkeypatch.setattr(sending, "QUESTION_SECONDS", 1)
    with session("ssh") as host:
        host.backend.begin(changes=True)
        assert host.check_output("sleep 2; echo done") == "done"


def test_a_box_that_drips_is_given_up_on_the_plain_connection(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_host, "ASK_SECONDS", 1)
    with session("ssh") as host:
        begun = time.monotonic()
        with pytest.raises(paramiko.SSHException, match=r"for too long \(it has 1 s\)"):
            host.run("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.5; done")
        assert time.monotonic() - begun < 4
