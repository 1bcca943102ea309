"""Two deploys at once: the second is refused, and a deploy that is gone is in nobody's way."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import one_deploy

# A login as the kernel shows it: a process whose name is sshd's, above whoever asks.
LOGIN = """
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(15, b"sshd-session", 0, 0, 0)
for line in sys.stdin:
    done = subprocess.run(["sh", "-c", open(line.strip()).read()], capture_output=True, text=True)
    print(done.stdout.strip() or "-", done.stderr.strip(), flush=True)
"""


class Login:
    """One login of a deploy, and what its root shell answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, script: str) -> str:
        file = self.folder / "asked.sh"
        file.write_text(script.replace("/run/", f"{self.folder}/"))
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{file}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip().removesuffix("-").strip()

    def ends(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[list[Login]]:
    made = [Login(tmp_path) for _ in range(2)]
    yield made
    for login in made:
        login.ends()


def test_one_deploy_keeps_the_other_out_until_it_ends(logins: list[Login]) -> None:
    first, second = logins
    assert first(one_deploy.OTHER) == second(one_deploy.OTHER) == ""
    assert first(one_deploy.TAKE) == ""
    assert first(one_deploy.TAKE) == ""  # as often as it likes
    assert first(one_deploy.OTHER) == ""  # it is not in its own way
    for script in (one_deploy.OTHER, one_deploy.TAKE):
        pid, seconds = second(script).split()
        assert int(pid) == first.process.pid
        assert 0 <= int(seconds) < 60
    first.ends()  # however it does
    assert second(one_deploy.OTHER) == ""
    assert second(one_deploy.TAKE) == ""


@pytest.mark.parametrize("sends", [True, False])
def test_a_deploy_whose_computer_is_gone_is_in_nobodys_way(
    sends: bool, logins: list[Login], tmp_path: Path
) -> None:
    """By what the kernel counts of its packets; ss is of this test."""
    first, second = logins
    assert first(one_deploy.TAKE) == ""
    count = tmp_path / "count"
    packets = f"$(wc -l <{count})" if sends else "7"
    ss = (
        f"ss() {{ echo . >>{count}; echo 'ESTAB users:((\"sshd\",pid={first.process.pid},fd=4))'; "
        f'echo " rto:220 segs_in:{packets} x"; }}\n'
    )
    quick = (ss + one_deploy.SCRIPT).replace("patience=15", "patience=2")
    assert bool(second(f"{quick}other")) is sends
    assert bool(second(f"{quick}take")) is sends
    if not sends:
        assert first.process.wait(5) != 0  # what it has begun does not go on beside the other


def test_a_number_that_is_used_again_is_not_that_deploy(
    logins: list[Login], tmp_path: Path
) -> None:
    (tmp_path / "deeprig-deploy").write_text(f"{os.getpid()} 1\n")
    assert logins[0](one_deploy.OTHER) == ""


def test_without_sshd_above_it_a_deploy_takes_nothing(tmp_path: Path) -> None:
    script = one_deploy.TAKE.replace("/run/", f"{tmp_path}/").replace("sshd*", "no-such-name")
    subprocess.run(["sh", "-c", script], check=True)
    assert not (tmp_path / "deeprig-deploy").exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1234 720", "for 12 min, and each .* `sudo kill 1234` there ends it now"),
        ("1234 x; reboot", "cannot be believed"),
        ("1 720", "cannot be believed"),
    ],
)
def test_it_is_told_with_the_way_out(answer: str, said: str) -> None:
    [sentence] = one_deploy._said(answer)
    assert re.search(said, sentence)
