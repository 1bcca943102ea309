"""What a kept shell answers is exact, whatever runs in it. sudo is a stand-in."""

import ast
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fast_ssh import shell as shells
from fast_ssh.cache import Cache
from fast_ssh.errors import NoShell, ShellLost
from fast_ssh.frames import ROOT, USER
from fast_ssh.history import Question
from fast_ssh.wire import Done, Pending
from tests.unit.local_shell import PASSWORD, Make, maker

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from maker(tmp_path)


def sh(script: str) -> str:
    """A command as pyinfra makes it."""
    return f"sh -c {shlex.quote(script)}"


@pytest.mark.parametrize("level", [USER, ROOT])
def test_each_byte_of_both_streams_and_the_status_arrive(
    make: Make, tmp_path: Path, level: str
) -> None:
    (tmp_path / "a").write_bytes(EVERY_BYTE * 300)
    (tmp_path / "b").write_bytes(EVERY_BYTE[::-1] * 300 + b"no end of line")
    script = sh(f"cat {tmp_path}/a; cat {tmp_path}/b >&2; exit 37")
    wanted = Done(37, EVERY_BYTE * 300, EVERY_BYTE[::-1] * 300 + b"no end of line")
    shell = make()
    assert shell.answer(shell.ask(level, script)) == wanted
    assert shell.run(level, script) == wanted
    job = shell.begin(level, script)
    assert shell.answer(shell.collect(level, job)) == wanted


def test_megabytes_on_both_streams_at_once(make: Make) -> None:
    script = sh("head -c 6000000 /dev/zero >&2 & head -c 6000000 /dev/zero; wait")
    done = make().run(USER, script)
    assert (len(done.stdout), len(done.stderr)) == (6_000_000, 6_000_000)


def test_each_byte_of_stdin_arrives(make: Make) -> None:
    content = EVERY_BYTE * 400 + b"\n\n"
    assert make().run(ROOT, sh("cat"), stdin=content).stdout == content
    assert make().run(ROOT, sh("cat"), stdin=b"") == Done(0, b"", b"")


def test_a_command_that_reads_takes_nothing_from_those_after_it(make: Make) -> None:
    shell = make()
    asked = [shell.ask(ROOT, sh("cat; read x")), shell.ask(ROOT, sh("echo after"))]
    said = [shell.wire.wait_for(one, 30).stdout for one in asked]  # else it would wait for ever
    assert said == [b"", b"after\n"]
    assert shell.run(USER, sh("cat; echo done")).stdout == b"done\n"


def test_what_a_shell_leaves_behind_is_in_nobody_elses_answer(make: Make) -> None:
    shell = make()
    assert shell.run(USER, sh("(sleep 0.4; echo late) 2>&- & echo soon")).stdout == b"soon\n"
    assert shell.run(USER, sh("sleep 0.6; echo on")).stdout == b"on\n"
    assert shell.run(USER, sh("cd /; x=1; set -e; exec echo gone")).stdout == b"gone\n"
    assert shell.run(USER, sh("pwd; echo $x")).stdout.endswith(b"\n\n")


# Somebody else's program, as root or the login starts it: it lives on in the background, and writes
# to every descriptor that it was given and to every open file that it finds.
HOSTILE = """
import os, sys, time
log, seconds = sys.argv[1], float(sys.argv[2])
if os.fork():
    print("mine", flush=True)
    os._exit(0)
os.setsid()
links = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in map(int, os.listdir("/proc/self/fd"))
         if os.path.exists(f"/proc/self/fd/{fd}")}
with open(log, "a") as file:
    print(links, file=file)
end = time.monotonic() + seconds
while time.monotonic() < end:
    for fd in links:
        try:
            os.write(fd, b"forged\\n")
        except OSError:
            pass
        try:
            again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
            os.write(again, b"forged\\n")
            os.close(again)
        except OSError:
            pass
    time.sleep(0.001)
"""


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A command that runs it."""
    program, log = tmp_path / "hostile.py", tmp_path / "hostile.log"
    program.write_text(HOSTILE)
    return shlex.join([sys.executable, str(program), str(log), "2"])


@pytest.mark.parametrize("how", ["asked", "begun", "run", "watched"])
@pytest.mark.parametrize("level", [USER, ROOT])
def test_somebody_elses_program_holds_nothing_on_which_answers_travel(
    make: Make, tmp_path: Path, hostile: str, level: str, how: str
) -> None:
    shell = make()
    started = time.monotonic()
    if how == "asked":
        said = shell.answer(shell.ask(level, sh(f"{hostile}; echo over"))).stdout
    elif how == "begun":
        said = shell.answer(shell.collect(level, shell.begin(level, sh(hostile)))).stdout
    else:
        watch = (lambda *_: None) if how == "watched" else None
        said = shell.run(level, sh(hostile), watch=watch).stdout
    assert b"mine" in said  # with what it wrote itself meanwhile, maybe in between
    # It is alive, it has descriptors to write to, and none of them is the channel.
    log = tmp_path / "hostile.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.01)
    found = ast.literal_eval(log.read_text())
    assert {1, 2} <= set(found)
    own = Path(f"/proc/{shell.wire.channel.process.pid}/fd")  # type: ignore[attr-defined]
    assert not {str((own / n).readlink()) for n in "012"} & set(found.values())
    for number in range(60):
        answers = [shell.ask(either, sh(f"echo {number}")) for either in (level, USER, ROOT)]
        assert [shell.answer(one) for one in answers] == [Done(0, b"%d\n" % number, b"")] * 3
        if number % 20 == 0:
            assert shell.run(level, sh("echo task")) == Done(0, b"task\n", b"")
    assert time.monotonic() - started < 90  # a busy machine takes its time; it does not hang


def test_nothing_of_an_answer_is_left_on_the_box(make: Make, tmp_path: Path) -> None:
    def folders() -> set[str]:
        found = [*Path("/run").glob("fast-ssh.*"), *Path(tempfile.gettempdir()).glob("tmp.*")]
        return {str(path) for path in found}

    before = folders()
    shell = make()
    assert shell.answer(shell.ask(ROOT, sh("echo secret"))).stdout == b"secret\n"
    assert folders() - before  # the control: there it is while the shell lives
    shell.wire.channel.process.stdin.close()  # type: ignore[attr-defined]  # as a link that ends
    end = time.monotonic() + 5
    while folders() - before and time.monotonic() < end:
        time.sleep(0.05)
    assert folders() - before == set()


def test_a_command_killed_or_not_found_is_told_as_by_a_shell(make: Make) -> None:
    shell = make()
    assert shell.run(ROOT, sh("kill -9 $$")).code == 137
    assert shell.run(ROOT, sh("no-such-thing")).code == 127
    assert b"not found" in shell.run(ROOT, sh("no-such-thing")).stderr


def test_an_end_that_somebody_made_up_ends_nothing(make: Make) -> None:
    made_up = f"<{'0' * 32}:2:0>\n".encode()
    done = make().run(USER, sh("cat"), stdin=made_up + b"more")
    assert done == Done(0, made_up + b"more", b"")


def test_lines_are_seen_while_it_runs(make: Make, tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []

    def watch(name: str, line: bytes) -> None:
        seen.append((name, line))
        (tmp_path / "seen").touch()

    wait = f"until [ -e {tmp_path}/seen ]; do sleep 0.05; done"
    done = make().run(ROOT, sh(f"echo one; {wait}; echo two >&2; printf three"), watch=watch)
    assert seen[0] == ("stdout", b"one")
    assert sorted(seen[1:]) == [("stderr", b"two"), ("stdout", b"three")]
    assert done == Done(0, b"one\nthree", b"two\n")


def test_a_timeout_is_told_in_time(make: Make) -> None:
    shell = make()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        shell.run(ROOT, sh("sleep 30"), timeout=0.3)
    assert time.monotonic() - started < 10


def test_a_link_that_breaks_in_the_middle_of_an_answer_is_told(make: Make) -> None:
    shell = make()
    asked = shell.ask(USER, sh("echo half; sleep 3; echo whole"))
    threading.Timer(0.3, shell.wire.channel.close).start()
    with pytest.raises(ShellLost):
        shell.answer(asked)
    with pytest.raises(ShellLost):
        shell.wire.wait_for(shell.ask(USER, sh("true")))


def test_many_questions_wait_for_one_another_only_there(make: Make, tmp_path: Path) -> None:
    shell = make()
    slow = shell.begin(ROOT, sh(f"until [ -e {tmp_path}/now ]; do sleep 0.05; done; echo slow"))
    asked = [
        shell.ask(ROOT, sh(f"touch {tmp_path}/now; echo quick")),
        shell.collect(ROOT, slow),
        *(shell.ask(ROOT, sh(f"echo {number}")) for number in range(40)),
    ]
    said = [shell.answer(one).stdout.decode().strip() for one in asked]
    assert said == ["quick", "slow", *map(str, range(40))]


def test_sudo_is_asked_once_for_all_questions_and_anew_after_each_change(
    make: Make, tmp_path: Path
) -> None:
    shell = make()
    for one in [shell.ask(ROOT, sh("echo $AS_ROOT")) for _ in range(5)]:
        assert shell.answer(one).stdout == b"yes\n"
    assert shell.answer(shell.ask(USER, sh("echo $AS_ROOT"))).stdout == b"\n"
    log = tmp_path / "sudo.log"
    assert len(log.read_text().splitlines()) == 1
    for _ in range(3):
        assert shell.run(ROOT, sh("echo $AS_ROOT")).stdout == b"yes\n"
    assert len(log.read_text().splitlines()) == 4


def test_sudo_takes_a_password_that_stands_in_no_argument(make: Make, tmp_path: Path) -> None:
    shell = make("password", password=PASSWORD)
    done = shell.run(ROOT, sh("echo $AS_ROOT; ps -eo args; cat /proc/$PPID/environ"))
    assert done.stdout.startswith(b"yes\n")
    seen = done.stdout.replace(f"SUDO_PASSWORD={PASSWORD}".encode(), b"")  # the stand-in's own
    assert b"IFS= read -r l" in seen  # the control: our shell is there
    assert PASSWORD.encode() not in seen
    assert PASSWORD not in (tmp_path / "sudo.log").read_text()


@pytest.mark.parametrize(
    ("mode", "password", "said"),
    [
        ("deny", None, b"sudo: may not\n"),
        ("deny", PASSWORD, b"sudo: may not\n"),
        ("password", None, b"sudo: a password is required\n"),
        ("password", "another", b"sudo: no\n"),
    ],
)
def test_where_sudo_refuses_nothing_meant_for_root_is_run(
    make: Make, tmp_path: Path, mode: str, password: str | None, said: bytes
) -> None:
    shell = make(mode, password)
    asked = [shell.ask(ROOT, sh(f"touch {tmp_path}/ran{number}")) for number in range(3)]
    assert [shell.answer(one) for one in asked] == [Done(1, b"", said)] * 3
    assert shell.run(ROOT, sh(f"touch {tmp_path}/ran")) == Done(1, b"", said)
    assert list(tmp_path.glob("ran*")) == []
    assert shell.run(USER, sh("echo on")).stdout == b"on\n"  # the control: it goes on


def test_a_password_that_sudo_did_not_ask_for_is_no_command(make: Make, tmp_path: Path) -> None:
    shell = make("free", password=f"u touch {tmp_path}/ran")
    assert shell.run(ROOT, sh("echo $AS_ROOT")).stdout == b"yes\n"
    shell = make("deny", password=f"u touch {tmp_path}/ran")
    assert shell.run(ROOT, sh("true")).code == 1
    assert not (tmp_path / "ran").exists()


def test_roots_shell_may_be_killed(make: Make) -> None:
    shell = make()
    with pytest.raises(ShellLost):
        shell.answer(shell.ask(ROOT, sh("kill -9 $PPID; sleep 5")))
    assert shell.answer(shell.ask(ROOT, sh("echo $AS_ROOT"))).stdout == b"yes\n"


def test_a_sudo_that_reads_ahead_is_found_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "START_SECONDS", 1)
    shell = make("ahead")
    assert shell.answer(shell.ask(ROOT, sh("echo $AS_ROOT"))).stdout == b"yes\n"
    assert shell.run(ROOT, sh("echo changed")).stdout == b"changed\n"
    with pytest.raises(NoShell):
        shell.run(ROOT, sh("echo lost"))


def test_the_secret_that_ends_answers_stands_in_no_argument(make: Make) -> None:
    shell = make()
    secret = shell.wire.marks.start.decode().strip("<:")
    seen = shell.answer(shell.ask(ROOT, sh("ps -eo args; env"))).stdout.decode()
    assert "IFS= read -r l" in seen  # the control: our shell is there
    assert secret not in seen


def test_an_answer_that_is_too_old_takes_those_as_old_along_and_no_others() -> None:
    cache = Cache(1.0)
    ages = {"old": 5.0, "as old": 3.0, "new": 0.1, "to come": None}
    for number, (word, age) in enumerate(ages.items()):
        pending = Pending(number, None, None)
        pending.came = 0.0 if age is None else time.monotonic() - age
        cache.keep(Question(USER, word), pending)
    assert cache.find(Question(USER, "old")) is None
    again = cache.next([Question(USER, word) for word in ages])
    assert [question.command for question in again] == ["old", "as old"]
