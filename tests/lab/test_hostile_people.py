"""What people leave where a deploy of root's works: it neither waits, nor follows, nor loses it."""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deeprig.settings import Rig, User
from deeprig.ssh import connection
from lab import boxes
from tasks import base, users
from tests.lab.conftest import host_data, run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
SECONDS = 60  # a run of these few operations takes three
# As anna: wait until somebody makes the file, and put a link to one of root's in its place.
RACE = """
import os
home = "/home/anna/.ssh"
os.makedirs(home, exist_ok=True)
for n in range(100000000):
    if os.path.exists(f"{home}/authorized_keys") and not os.path.islink(f"{home}/authorized_keys"):
        os.symlink("/etc/victim", f"{home}/link")
        os.rename(f"{home}/link", f"{home}/authorized_keys")
        break
"""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    private = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private], check=True)
    return private


def have(key: Path) -> Callable[[Rig], None]:
    """A run that surveys the box as a deploy does, and brings anna."""
    wanted = Rig(notebook=None, users=(User(name="anna", keys=(str(key.with_suffix(".pub")),)),))

    def build(rig: Rig) -> None:
        if base.survey(rig=wanted):
            users.provide(settings=wanted.users)

    return build


@pytest.fixture
def anna(box: boxes.Box, login: Login, key: Path) -> Iterator[Path]:
    """She is there, and gets in; whatever she made is gone afterwards."""
    assert run_on(box, have(key)).error is None
    assert run_on(box, have(key)).changes == []
    yield key
    login("sudo pkill -KILL -u anna; sudo rm -rf --one-file-system /home/anna/.ssh", check=False)


def as_anna(login: Login, script: str) -> None:
    login(f"sudo runuser -u anna -- sh -ec {shlex.quote(script)}")


def gets_in(box: boxes.Box, key: Path) -> bool:
    data = {**host_data(box), "ssh_user": "anna", "ssh_key": str(key)}
    connection.connect(data).close()
    return True


def test_a_link_put_there_meanwhile_makes_nothing_of_roots_hers(
    box: boxes.Box, login: Login, anna: Path
) -> None:
    login("sudo sh -c 'echo secret > /etc/victim; chmod 600 /etc/victim'")
    for _ in range(3):
        login("sudo rm -rf /home/anna/.ssh")
        login(
            "sudo systemd-run --quiet --collect --uid=anna --unit=race "
            f"python3 -c {shlex.quote(RACE)}"
        )
        run_on(box, have(anna))
        login("sudo systemctl stop race", check=False)
        assert login("sudo stat -c '%U %a %s' /etc/victim").strip() == "root 600 7"
    login("sudo rm -rf /home/anna/.ssh")
    assert run_on(box, have(anna)).error is None
    assert gets_in(box, anna)  # the control: without her doing


KEYS = "/home/anna/.ssh/authorized_keys"
NOWHERE = "/tmp/$(id)\n'\"a\x1b]0;x\a"
MOVE = "; look at it, and have its owner move it away."


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (f"rm {KEYS}; mkfifo {KEYS}", f"{KEYS} is a FIFO{MOVE}"),
        (f"rm {KEYS}; mkdir {KEYS}; touch {KEYS}/mine", f"{KEYS} is a folder{MOVE}"),
        (f"rm {KEYS}; ln -s /dev/zero {KEYS}", f"{KEYS} is a device{MOVE}"),
        (f"rm {KEYS}; ln -s /etc/passwd {KEYS}",
         f"{KEYS} is not anna's to read and write{MOVE}"),
        (f"rm {KEYS}; ln -s {shlex.quote(NOWHERE)} {KEYS}",
         f"{KEYS} is a link that leads nowhere{MOVE}"),
        (f"truncate -s 1G {KEYS}", f"{KEYS} has more than 1 MiB, which no list of keys has{MOVE}"),
        (f"rm {KEYS}; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{KEYS}\")'",
         f"{KEYS} is a socket{MOVE}"),
        ("rm -r /home/anna/.ssh; mkfifo /home/anna/.ssh", f"/home/anna/.ssh is a FIFO{MOVE}"),
        ("rm -r /home/anna/.ssh; touch /home/anna/.ssh", f"/home/anna/.ssh is a file{MOVE}"),
        ("rm -r /home/anna/.ssh; ln -s /root /home/anna/.ssh",
         f"/home/anna/.ssh is not anna's to read and write{MOVE}"),
        ("rm -r /home/anna/.ssh; ln -s /dev/zero /home/anna/.ssh",
         f"/home/anna/.ssh is a device{MOVE}"),
    ],
    ids=["fifo", "folder", "zero", "link", "odd-name", "large", "socket", "ssh-fifo", "ssh-file",
         "ssh-link", "ssh-zero"],
)  # fmt: skip
def test_what_stands_where_keys_should_be_is_named_and_left(
    box: boxes.Box, login: Login, anna: Path, made: str, said: str
) -> None:
    as_anna(login, made)
    look = "sudo find /home/anna/.ssh -printf '%p %y %U %m %s %l\\n'"
    before = login(look)
    started = time.monotonic()
    report = run_on(box, have(anna))
    assert time.monotonic() - started < SECONDS
    assert report.refusals == [said]
    assert report.steps == []
    assert login(look) == before


def test_keys_that_are_there_stay_and_count(box: boxes.Box, login: Login, anna: Path) -> None:
    """Options before a key and a last line without an end are a person's own."""
    public = anna.with_suffix(".pub").read_text().strip()

    def has(line: str) -> None:
        as_anna(login, f"printf %s {shlex.quote(line)} > {KEYS}")

    has(f"no-pty {public} of my own")
    assert run_on(box, have(anna)).changes == []
    has(f"# {public}")
    assert run_on(box, have(anna)).changes == ["Users | Have anna log in with a key"]
    assert login(f"sudo cat {KEYS}").splitlines() == [f"# {public}", public]
    assert gets_in(box, anna)


def test_a_home_that_is_no_more_is_made_anew(box: boxes.Box, login: Login, anna: Path) -> None:
    login("sudo rm -r /home/anna")
    assert run_on(box, have(anna)).changes == [
        "Users | Have a home for anna", "Users | Have anna log in with a key"
    ]  # fmt: skip
    assert login("sudo stat -c '%U %G %a' /home/anna /home/anna/.bashrc /home/anna/.ssh").split(
        "\n"
    ) == ["anna anna 700", "anna anna 644", "anna anna 700", ""]
    assert gets_in(box, anna)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("mv /home/anna /srv/anna; ln -s /srv/anna /home/anna",
         "/home/anna is a link; `sudo usermod --home FOLDER anna` names the folder it leads to."),
        ("chown deeprig /home/anna",
         "/home/anna belongs to somebody else; `sudo chown -R anna: /home/anna`, if it is to be "
         "anna's."),
        ("mv /home/anna /srv/anna; touch /home/anna", "/home/anna is no folder; move it away."),
    ],
    ids=["link", "others", "file"],
)  # fmt: skip
def test_a_home_that_is_not_hers_is_refused(
    box: boxes.Box, login: Login, anna: Path, made: str, said: str
) -> None:
    login(f"sudo sh -c {shlex.quote(made)}")
    report = run_on(box, have(anna))
    login("sudo sh -c '[ ! -d /srv/anna ] || { rm /home/anna; mv /srv/anna /home/anna; }; "
          "chown anna: /home/anna'")  # fmt: skip
    assert report.refusals == [said]
    assert report.steps == []


def test_who_comes_back_gets_the_number_of_the_home(
    box: boxes.Box, login: Login, anna: Path
) -> None:
    number = login("id -u anna")
    login("sudo useradd between; sudo userdel anna")
    assert run_on(box, have(anna)).error is None
    assert login("id -u anna") == number
    assert run_on(box, have(anna)).changes == []
    login("sudo userdel between")


def test_who_is_new_gets_nobodys_number(box: boxes.Box, login: Login, anna: Path) -> None:
    """Her home stays, and is not the next one's."""
    number = login("id -u anna")
    login("sudo install -m 600 -o anna /dev/null /home/anna/secret")
    login("sudo pkill -KILL -u anna; sudo userdel anna", check=False)
    otto = (User(name="otto", keys=(str(anna.with_suffix(".pub")),)),)
    assert run_on(box, lambda rig: users.provide(settings=otto)).error is None
    assert login("id -u otto") != number
    assert login("stat -c %u /home/anna") == number
    assert login("sudo -u otto cat /home/anna/secret; echo $?").strip() == "1"
    login("sudo userdel -r otto")
    assert run_on(box, have(anna)).error is None
    assert login("id -u anna") == number
