"""Two deploys at once: the second is refused, and a deploy that is gone is in nobody's way."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily, socket

import pytest

from tasks import one_deploy

# A login as the kernel shows it: a process whose name is sshd's, above whoever asks.
LOGIN = """
import ctypes, json, socket, subprocess, sys
person = socket.create_connection(json.loads(sys.argv[1])[:2]) if sys.argv[1:] else None
ctypes.CDLL(None).prctl(15, b"sshd-session", 0, 0, 0)
for line in sys.stdin:
    done = subprocess.run(["sh", "-c", open(line.strip()).read()], capture_output=True, text=True)
    print(done.stdout.strip() or "-", done.stderr.strip(), flush=True)
"""


class Login:
    """One login of a deploy, and what its root shell answers."""

    def __init__(self, folder: Path, *of: object) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, *map(json.dumps, of)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
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
    assert first(one_deploy.TAKE) == "taken"
    assert first(one_deploy.TAKE) == "taken"  # as often as it likes
    assert first(one_deploy.OTHER) == ""  # it is not in its own way
    for script in (one_deploy.OTHER, one_deploy.TAKE):
        pid, seconds = second(script).split()
        assert int(pid) == first.process.pid
        assert 0 <= int(seconds) < 60
    first.ends()  # however it does
    assert second(one_deploy.OTHER) == ""
    assert second(one_deploy.TAKE) == "taken"


@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize(("family", "address"), [(AF_INET, "127.0.0.1"), (AF_INET6, "::1")])
def test_a_deploy_whose_computer_is_gone_is_in_nobodys_way(
    family: AddressFamily, address: str, sends: bool, tmp_path: Path
) -> None:
    """By what the kernel counts of a real connection's packets, which a person sends or not."""
    with socket(family) as server:
        server.bind((address, 0))
        server.listen()
        first, second = Login(tmp_path, server.getsockname()), Login(tmp_path)
        person, _ = server.accept()
        try:
            assert first(one_deploy.TAKE) == "taken"
            heard = first(f"{one_deploy.SCRIPT}heard {first.process.pid}")
            assert re.fullmatch("segs_in:[0-9]+", heard)  # the control: its connection is found
            if sends:
                beat = threading.Thread(target=_send, args=(person, first.process), daemon=True)
                beat.start()
            quick = one_deploy.SCRIPT.replace("patience=15", "patience=2")
            assert bool(second(f"{quick}other")) is sends
            assert (second(f"{quick}take") != "taken") is sends
            if not sends:
                assert first.process.wait(5) != 0  # what it began does not go on beside the other
        finally:
            first.ends()
            second.ends()
            person.close()


def _send(person: socket, login: "subprocess.Popen[str]") -> None:
    while login.poll() is None:
        person.send(b".")
        time.sleep(0.2)


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


def test_where_nothing_can_be_written_down_no_deploy_goes_on(tmp_path: Path) -> None:
    """As where /run is full: the folder is not there."""
    script = one_deploy.TAKE.replace("/run/", f"{tmp_path}/gone/")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    [said] = one_deploy._not_taken(done.stdout.strip(), done.stderr.strip())
    assert "cannot write down that this deploy is at work" in said
    assert one_deploy._not_taken("taken", "") == []
    assert "for 12 min" in one_deploy._not_taken("1234 720", "")[0]
