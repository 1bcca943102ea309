"""A box that answers without end, or what nobody asked: it costs little, and one sentence."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_state

from deeprig.errors import DeeprigError
from deeprig.ssh import connection, root_shell, session
from deeprig_cli.run.client import JobClient
from fast_ssh import sending, wire
from fast_ssh.errors import TooMuch
from fast_ssh.frames import MOST_BYTES, MOST_LINES, USER, Marks, Stream
from tests.host.newcomer import MOST_SAID, says
from tests.unit import ssh_server
from tests.unit.local_shell import Make, environment, maker
from tests.unit.ssh_server import Server
from tests.unit.test_colour_only import JOB

ENDLESS = {"zeros": "cat /dev/zero", "lines": "yes ''", "errors": "cat /dev/zero >&2"}
MIB = 2**20


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from maker(tmp_path)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with ssh_server.serve(environment(tmp_path)) as running:
        yield running


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_shell_that_writes_without_end_is_ended(make: Make, kind: str) -> None:
    shell = make()
    shell.prove()
    tracemalloc.start()
    # Not by a command of ours, which answers through a file: the box itself is the enemy.
    sent = shell.wire.send(USER, lambda number: ENDLESS[kind])
    with pytest.raises(TooMuch, match=r"more than 8 MiB"):
        shell.wire.wait_for(sent, 60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB
    with pytest.raises((TooMuch, OSError)):
        shell.run(USER, "sh -c 'echo on'")


def test_an_answer_may_be_large_but_not_larger(make: Make) -> None:
    most = MOST_BYTES - MIB
    shell = make()
    done = shell.run(USER, f"sh -c 'head -c {most} /dev/zero'")
    assert len(done.stdout) == most  # the control
    assert done.code == 0
    with pytest.raises(TooMuch):
        shell.run(USER, f"sh -c 'yes | head -n {MOST_LINES + 1}'")


@pytest.mark.parametrize("said", [b"x:0", b"1:y", b"1", b"1:0:0", b"1" * 5000 + b":0"])
def test_an_end_that_is_none_is_refused(said: bytes) -> None:
    marks = Marks("ab" * 16)
    with pytest.raises(TooMuch):
        Stream(marks).feed(marks.start + said + b">\n")
    assert Stream(marks).feed(marks.start + b"1:0>\n")  # the control


def test_an_answer_that_nobody_asked_for_is_refused(make: Make) -> None:
    shell = make()
    shell.prove()
    sent = shell.wire.send(USER, lambda number: "fast_end 99 0; sleep 5")
    with pytest.raises(TooMuch, match="nobody asked"):
        shell.wire.wait_for(sent, 30)


def test_silence_has_an_end(make: Make) -> None:
    shell = make()
    asked = shell.ask(USER, "sh -c 'sleep 30'")
    asked.limit = 0.5
    started = time.monotonic()
    with pytest.raises(TooMuch, match="not answered"):
        shell.answer(asked)
    assert time.monotonic() - started < 10
    assert wire.QUESTION_SECONDS <= 300


@pytest.mark.parametrize("kind", ENDLESS)
def test_one_command_on_a_box_that_answers_without_end(
    box: Server, tmp_path: Path, kind: str
) -> None:
    transport = _login(box, tmp_path)
    tracemalloc.start()
    with pytest.raises(DeeprigError, match="more than 4 MiB"):
        root_shell.run(transport, ENDLESS[kind], seconds=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * MIB


def test_one_command_on_a_box_that_drips(box: Server, tmp_path: Path) -> None:
    """Each byte comes in time, and there is no end."""
    transport = _login(box, tmp_path)
    started = time.monotonic()
    with pytest.raises(DeeprigError, match=r"too long|did not finish in 2 s"):
        root_shell.run(transport, "while sleep 0.3; do echo .; done", seconds=2)
    assert time.monotonic() - started < 6
    assert root_shell.run(transport, "echo on").out == "on\n"  # the control


def test_the_plain_connection_is_bounded_too(
    box: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = _login(box, tmp_path).open_session()
    channel.exec_command("cat /dev/zero")
    with caplog.at_level("ERROR", logger="pyinfra"):
        taken = len(channel.makefile("rb").read())
    assert taken <= sending.Bounded.most  # type: ignore[operator]
    assert channel.recv_exit_status() == -1
    assert "it answers with more than 16 MiB; nothing more is read from it" in caplog.text


@pytest.mark.parametrize(
    ("stage", "seconds"),
    [
        (None, wire.QUESTION_SECONDS),  # not in a run
        (StateStage.Connect, wire.QUESTION_SECONDS),
        (StateStage.Prepare, wire.QUESTION_SECONDS),
        (StateStage.Execute, wire.TASK_SECONDS),
    ],
)
def test_a_box_that_drips_has_no_longer_for_a_question_on_the_plain_connection(
    box: Server, tmp_path: Path, stage: StateStage | None, seconds: float
) -> None:
    """It had six hours for each, and a plan asks a hundred."""
    transport = _login(box, tmp_path)
    state = State()
    state.current_stage = stage or state.current_stage
    with ctx_state.use(state if stage else None):
        channel = transport.open_session()
    assert isinstance(channel, sending.Bounded) and channel.ends is not None
    assert seconds - 30 < channel.ends - time.monotonic() <= seconds


def _login(box: Server, folder: Path) -> sending.Transport:
    key = f"[127.0.0.1]:{box.port} {box.host_key.get_name()} {box.host_key.get_base64()}\n"
    Path(folder, "known_hosts").write_text(key)
    transport = connection.connect(ssh_server.data(box, folder)).get_transport()
    assert isinstance(transport, sending.Transport)
    return transport


def test_a_log_may_be_longer_than_an_answer(
    box: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "job"
    ended = {**JOB, "command": "train"}
    program.write_text(
        f"#!/bin/sh\ncase $2 in\nlist) echo '{json.dumps([ended])}';;\n"
        "follow) echo from 0; yes | head -c 20000000;;\nesac\n"
    )
    program.chmod(0o755)
    _login(box, tmp_path)
    there = JobClient("rig1", ssh_server.data(box, tmp_path))
    monkeypatch.setattr(session, "BOX", str(program))
    log = tmp_path / "log"
    with log.open("wb") as out:
        assert there.follow("train", out)["name"] == "train"
    there.close()
    assert log.stat().st_size == 20_000_000


def test_every_check_reads_a_login_of_its_own_by_what_has_a_limit() -> None:
    """What a check that fails got is shown by pytest: its `repr`, many times as large."""
    folder = Path(__file__).parents[1] / "host"
    asks = [file.name for file in folder.glob("*.py") if "exec_command(" in file.read_text()]
    assert asks == ["newcomer.py"]


def test_a_login_of_a_check_is_read_to_a_limit(box: Server, tmp_path: Path) -> None:
    client = paramiko.SSHClient()
    client._transport = _login(box, tmp_path)
    try:
        for command in (ENDLESS["zeros"], "cat /dev/zero >&2", "echo yes"):
            tracemalloc.start()
            said, complaint = says(lambda: client, command)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert max(len(said), len(complaint)) <= MOST_SAID and peak < 8 * MIB
        assert said == b"yes\n"  # the control
    finally:
        client.close()
