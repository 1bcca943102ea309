"""deeprig.ssh.as_user by a real shell of root's: what a user's command gives, and what not."""

import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeprig.ssh import as_user
from tests.unit import unkillable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
USER = "nobody"
# What lives on after its command, and writes where root read; it says how much went in.
HOLDS = """
import os, signal, sys, time
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if os.fork():
    os._exit(0)
os.setsid()
time.sleep(1)
written, error = 0, "all of it went in"
try:
    while written < 16 * 2**20:
        written += os.write(1, b"x" * 65536)
except OSError as why:
    error = why.strerror
with open(sys.argv[1], "w") as file:
    file.write(f"{written} {error}")
time.sleep(20)
"""
# Who fills the pipe, and leaves behind what goes on writing into it.
FLOODS = """
import fcntl, os, sys, time
piece = {"lines": b"\\n" * 4096, "bytes": b"x"}[sys.argv[1]]
if piece != b"x":
    fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK)
filled, full = os.pipe()
for _ in range(4):
    if not os.fork():
        os.setsid()
        try:
            for _ in range(70_000):
                os.write(1, piece)
        except BlockingIOError:
            pass
        finally:
            os.write(full, b"x")
            time.sleep(12)
            os._exit(0)
if piece == b"x":
    time.sleep(0.5)
else:
    os.read(filled, 4)
"""


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever shell `sh` is."""
    (tmp_path / "sh").symlink_to(shutil.which(request.param) or pytest.skip("it is not there"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def answer(*argv: str, user: str = USER, seconds: int = 10) -> subprocess.CompletedProcess[bytes]:
    command = as_user.command(user, argv, seconds=seconds)
    return subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60)


def sh(line: str, *, seconds: int = 10) -> subprocess.CompletedProcess[bytes]:
    return answer("sh", "-c", line, seconds=seconds)


@needs_root
@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("true", 0, b"", b""),
        ("id -un; exit 7", 7, USER.encode() + b"\n", b""),
        ("printf 'a\\000b\\n\\nc'; printf 'no\\n' >&2; exit 1", 1, b"a\0b\n\nc", b"no\n"),
        ("printf '\\377\\n\\n'", 0, b"\xff\n\n", b""),
        ("cat; pwd; umask", 0, b"/\n0022\n", b""),
        ("echo before; sleep 60", 124, b"before\n", b""),
        ("kill -KILL $$", 137, b"", b""),
    ],
)
def test_all_that_a_command_says_comes_as_it_is(
    line: str, code: int, out: bytes, err: bytes, shell: None
) -> None:
    done = sh(line, seconds=2)
    said = done.stderr.removeprefix(b"Killed\n")  # by the shell, where that is dash
    assert (done.returncode, done.stdout, said) == (code, out, err)


@needs_root
@pytest.mark.parametrize("to", ["", " >&2"], ids=["out", "err"])
@pytest.mark.parametrize(
    "what", ["yes", "cat /dev/zero", "trap '' PIPE; cat /dev/zero", "head -c 5M /dev/urandom"]
)
def test_who_says_too_much_is_ended(what: str, to: str) -> None:
    begun = time.monotonic()
    done = sh(f"{what}{to}")
    assert done.returncode == as_user.TOO_MUCH
    words = len("File size limit exceeded\n")  # a shell says of the reader
    assert len(done.stdout + done.stderr) <= as_user.BLOCKS * 512 + words
    assert time.monotonic() - begun < 9


@needs_root
def test_what_lives_on_neither_holds_root_up_nor_has_room_of_roots(tmp_path: Path) -> None:
    nobody = pwd.getpwnam(USER)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    begun = time.monotonic()
    done = answer(sys.executable, "-I", "-c", HOLDS, str(tmp_path / "held"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - begun < 1
    deadline = time.monotonic() + 20
    while not (tmp_path / "held").exists() or not (tmp_path / "held").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    written, _, why = (tmp_path / "held").read_text().partition(" ")
    assert (int(written), why) == (0, "Broken pipe")


@needs_root
def test_who_writes_on_in_the_background_holds_nothing_up() -> None:
    begun = time.monotonic()
    done = sh("(trap '' HUP; exec setsid yes) & echo said")
    assert b"said" in done.stdout and time.monotonic() - begun < 5
    done = sh("(while printf x; do sleep 0.05; done) & echo said", seconds=5)
    assert done.returncode == 0 and b"said" in done.stdout


@needs_root
def test_nothing_of_it_stays_in_run() -> None:
    before = set(Path("/run").glob("deeprig-as.*"))
    for line in ("true", "yes", "kill -KILL $$"):
        sh(line)
    assert answer("true", user="no-such-user").returncode != 0
    assert set(Path("/run").glob("deeprig-as.*")) == before


@needs_root
@pytest.mark.parametrize("what", ["lines", "bytes"])
def test_a_full_pipe_does_not_keep_root_from_ending_it(
    what: str, shell: None, tmp_path: Path
) -> None:
    """By flags of the pipe that two share, or by words between root's own."""
    slow = tmp_path / "sed"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec {shutil.which("sed")} "$@"\n')
    slow.chmod(0o755)
    begun = time.monotonic()
    assert answer(sys.executable, "-Ic", FLOODS, what).returncode == 0
    assert time.monotonic() - begun < 9


@needs_root
def test_where_nobody_reads_root_does_not_wait(shell: None, tmp_path: Path) -> None:
    """Such as where what is preloaded into every program has no room within the reader's limit."""
    (tmp_path / "sed").symlink_to("/bin/false")
    for _ in range(5):
        assert answer("true", seconds=2).returncode == as_user.TOO_MUCH


def test_words_of_others_within_the_end_do_not_hide_it() -> None:
    said = b"said\n" + b"x" + b"ended.abc\n" + b"more\n"
    done = subprocess.run(
        ["sh", "-c", f"m=ended.abc; {as_user.READ}"], input=said, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (as_user.SEEN, b"said\n")


@needs_root
def test_what_no_signal_ends_is_given_up(tmp_path: Path) -> None:
    begun = time.monotonic()
    with unkillable.folder(tmp_path) as folder:
        done = answer("stat", str(folder / "file"), user="", seconds=1)
    assert done.returncode == 137
    assert time.monotonic() - begun < 15
