"""Somebody else's hand in and above the data folder, while root works there."""

import shlex
from collections.abc import Callable, Iterator

import pytest

from deeprig.settings import Rig, Storage
from lab import boxes
from tasks import base, data_folder, users
from tests.lab.conftest import run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
FOLDER = "/srv/top/data"
OWN = f"{FOLDER}/ai"
PROGRAM = "/usr/local/lib/deeprig/current/deeprig-box data-folder"
SCRIPT = f"sudo {PROGRAM}"
# As ai, whose /srv/top is: exchange the data folder with one whose draft is a link, and back.
EXCHANGE = """
import ctypes, os, stat
libc = ctypes.CDLL(None)
here, there = b"/srv/top/data", b"/srv/top/other"
for n in range(100000000):
    os.makedirs(there, exist_ok=True)
    try:
        os.symlink("/etc/victim", b"/srv/top/other/.ai.deeprig")
    except OSError:
        pass
    libc.syscall(316, -100, here, -100, there, 2)
"""
# As the number that a folder had before: files in it become links to root's, and back.
RENAME = """
import os
os.chdir("/srv/given/ai/runs")
for n in range(100000000):
    for folder in ("a", "b"):
        try:
            os.rename(folder, "kept")
            os.symlink("/etc/victim", folder)
            os.unlink(folder)
            os.rename("kept", folder)
        except OSError:
            pass
"""


@pytest.fixture(scope="module", autouse=True)
def prepared(box: boxes.Box) -> None:
    """What data-folder needs on a box, and the account."""

    def build(rig: Rig) -> None:
        found = base.survey(rig)
        assert found
        base.have_program()
        base.have_apt_ready(survey=found)
        users.provide(settings=rig.users)
        data_folder.provide(settings=Storage(), survey=found, user="ai")

    assert run_on(box, build).error is None


@pytest.fixture
def victim(login: Login) -> Iterator[Callable[[], str]]:
    """A folder of root's with a file in it; asks whose they are."""
    login("sudo mkdir /etc/victim; sudo touch /etc/victim/passwd /etc/victim/f")
    yield lambda: login("sudo stat -c %U /etc/victim /etc/victim/f").strip()
    login("sudo rm -r /etc/victim")


def go_on(login: Login, user: str, script: str) -> None:
    """Have this user, or number, at work in the background."""
    login(
        "sudo systemd-run --quiet --collect --unit=hostile setpriv --clear-groups "
        f"--reuid={user} --regid={user} python3 -c {shlex.quote(script)}; sleep 0.3"
    )


@pytest.mark.parametrize(
    "made",
    ["chown ai /srv/top", "chmod 777 /srv/top", "chmod 1777 /srv/top",
     "chgrp ai /srv/top; chmod 775 /srv/top"],
    ids=["his", "everybodys", "sticky", "his-groups"],
)  # fmt: skip
def test_a_data_folder_below_what_others_may_change_is_refused(
    box: boxes.Box, login: Login, made: str
) -> None:
    """By the survey, before anything is touched, and by the script that root runs."""
    login(f"sudo sh -c {shlex.quote(f'mkdir -p {FOLDER}; {made}')}")

    def build(rig: Rig) -> None:
        wanted = Rig(storage=Storage(folder=FOLDER))
        if found := base.survey(wanted):
            data_folder.provide(settings=Storage(folder=FOLDER), survey=found, user="ai")

    report = run_on(box, build)
    said = login(f"{SCRIPT} {FOLDER} ai 2>&1", check=False)
    there = login(f"ls -A {FOLDER}")
    login("sudo chown root: /srv/top; sudo chmod 755 /srv/top")
    assert report.refusals == [
        f"{FOLDER} is to be below /srv/top, which others than root can change, and so exchange "
        "what root makes there; `sudo chown root: /srv/top && sudo chmod go-w /srv/top`, or name "
        "another place in Storage."
    ]
    assert report.steps == []
    assert said.startswith("/srv/top ")
    assert said.count("\n") == 1
    assert there == ""
    assert run_on(box, build).error is None  # the control
    login("sudo rm -r /srv/top")


def test_who_exchanges_the_folder_meanwhile_gets_none_of_roots(
    login: Login, victim: Callable[[], str]
) -> None:
    login(f"sudo mkdir -p {FOLDER}; sudo chown ai /srv/top")
    go_on(login, "ai", EXCHANGE)
    login(f"for n in $(seq 200); do {SCRIPT} {FOLDER} ai; done 2>/dev/null", check=False)
    login("sudo systemctl stop hostile; sudo rm -rf /srv/top")
    assert victim().split() == ["root", "root"]


def test_what_is_handed_over_is_the_thing_itself_whatever_its_name_becomes(
    login: Login, victim: Callable[[], str]
) -> None:
    """A process may still run under the old number."""
    odd = shlex.quote("/srv/given/ai/runs/a/\n'\"$(id)\x1b]0;x\a")
    make = (
        "rm -rf /srv/given; mkdir -p /srv/given/ai/runs; cd /srv/given/ai/runs; mkdir a b; "
        f"touch a/f b/f {odd}; mkfifo a/p; chown -hR 4321:4321 /srv/given/ai"
    )
    for _ in range(6):
        login(f"sudo sh -ec {shlex.quote(make)}")
        go_on(login, "4321", RENAME)
        login(f"{SCRIPT} /srv/given ai; sudo systemctl kill -s KILL hostile")
        assert victim().split() == ["root", "root"]
    login(f"sudo sh -ec {shlex.quote(make)}; {SCRIPT} /srv/given ai")
    assert login("sudo find /srv/given/ai ! -user ai") == ""
    login("sudo rm -r /srv/given")


@pytest.mark.parametrize(
    "made",
    ["ln -s /etc/victim {}", "touch {}", "mkfifo {}", "ln -s /dev/zero {}"],
    ids=["link", "file", "fifo", "zero"],
)
def test_what_is_no_folder_is_left_and_named(
    login: Login, victim: Callable[[], str], made: str
) -> None:
    for place in ("/srv/odd", "/srv/odd/ai"):
        login("sudo mkdir -p /srv/odd" if place.endswith("ai") else "true")
        login(f"sudo sh -c {shlex.quote(made.format(place))}")
        said = login(f"sudo timeout 20 {PROGRAM} /srv/odd ai 2>&1", check=False)
        assert said.startswith(f"{place} is no folder; move it away")
        login("sudo rm -r /srv/odd")
    assert victim().split() == ["root", "root"]


@pytest.mark.parametrize(
    "made",
    ["mkfifo {0}", "ln -s /dev/zero {0}", "touch {0}", "ln -s $(printf 'a\\nb\\033]0;x\\007') {0}"],
    ids=["fifo", "zero", "file", "escapes"],
)
def test_what_the_user_has_in_the_home_is_left_and_said_in_plain_letters(
    login: Login, made: str
) -> None:
    login(f"{SCRIPT} /srv/home ai")
    login("sudo rm /home/ai/notebooks")
    made = made.format("/home/ai/notebooks").replace("$(", '"$(').replace(") /", ')" /')
    login(f"sudo runuser -u ai -- sh -c {shlex.quote(made)}")
    said = login(f"sudo timeout 20 {PROGRAM} --check /srv/home ai")
    login("sudo rm /home/ai/notebooks; sudo rm -r /srv/home")
    assert said.startswith("note /home/ai/notebooks ")
    assert said.count("\n") == 1
    assert said.strip().isprintable()
