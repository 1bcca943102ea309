"""First contact with boxes as installers and clouds leave them."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprig.bootstrap.first_contact import HostKeyChanged, Outcome, Target, bootstrap
from deeprig.errors import DeeprigError
from deeprig.ssh import known_hosts
from lab import boxes, container

pytestmark = pytest.mark.lab

DEEPRIG = [sys.executable, "-m", "deeprig_cli.cli"]
ROOT = Path(__file__).parents[2]
MADE = ("user deeprig", "key of deeprig", "key of ai", "sudo of deeprig")


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """A box as the installer leaves it."""
    name = "t-first-contact"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    yield boxes.up(name, os=str(request.config.getoption("--os")), bare=True)
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture
def box(machine: boxes.Box) -> boxes.Box:
    """The same, just installed, and nobody has been there."""
    fresh = boxes.reinstall(machine.name)
    fresh.known_hosts.unlink(missing_ok=True)
    return fresh


def inside(box: boxes.Box, script: str) -> str:
    """What a script prints that root runs on the box, without a login."""
    process = str(container.host_pid(box.name, 1))
    done = subprocess.run(
        ["nsenter", "--all", "--target", process, "sh", "-euc", script],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def contact(
    box: boxes.Box, password: str | None, *, user: str = "ai", reinstalled: bool = False
) -> Outcome:
    return bootstrap(
        Target(box.host, box.port, user),
        key=box.key,
        known_hosts=box.known_hosts,
        password=password,
        accept=lambda fingerprint: True,
        reinstalled=reinstalled,
    )


def ssh(box: boxes.Box, user: str, command: str) -> str:
    """With OpenSSH's own client, which trusts only what bootstrap pinned."""
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={box.known_hosts}",
    ]
    done = subprocess.run(
        ["ssh", "-i", str(box.key), *(f"-o{option}" for option in options),
         f"{user}@{box.host}", command],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def cli(box: boxes.Box, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEEPRIG, "bootstrap", box.host, "--key", str(box.key),
         "--known-hosts", str(box.known_hosts), *options],
        cwd=ROOT, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_wrong_password_changes_nothing_and_the_right_one_does_it_all(box: boxes.Box) -> None:
    with pytest.raises(DeeprigError, match="refused this password for ai"):
        contact(box, "wrong")
    assert inside(box, "id deeprig 2>&1 || true").endswith("no such user")

    assert contact(box, box.password).changed == MADE
    assert ssh(box, "deeprig", "id -un; sudo -n id -un") == "deeprig\nroot"
    assert ssh(box, "ai", "id -un") == "ai"
    assert contact(box, None).changed == ()


def test_what_it_leaves_is_nobody_elses_to_read_or_change(box: boxes.Box) -> None:
    contact(box, box.password)
    look = (
        "stat -c '%n %a %U' /etc/sudoers.d/50-deeprig /home/*/.ssh /home/*/.ssh/authorized_keys;"
        "passwd -S deeprig | cut -d' ' -f2; ls -A /etc/sudoers.d; visudo -cq && echo valid"
    )
    assert inside(box, look).splitlines() == [
        "/etc/sudoers.d/50-deeprig 440 root",
        "/home/ai/.ssh 700 ai",
        "/home/deeprig/.ssh 700 deeprig",
        "/home/ai/.ssh/authorized_keys 600 ai",
        "/home/deeprig/.ssh/authorized_keys 600 deeprig",
        "L",
        "50-deeprig",
        "README",
        "valid",
    ]


class Watcher(threading.Thread):
    """Looks for a secret in the argv and environment of every process here and on the boxes."""

    def __init__(self, secret: str) -> None:
        super().__init__(daemon=True)
        self.secret = secret.encode()
        self.rounds = 0
        self.seen: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self.rounds += 1
            for file in [
                *Path("/proc").glob("[0-9]*/cmdline"),
                *Path("/proc").glob("[0-9]*/environ"),
            ]:
                try:
                    if self.secret in file.read_bytes():
                        self.seen.add(file.name)
                except OSError:
                    continue  # the process has ended

    def stop(self) -> None:
        self.over.set()
        self.join()


def test_the_password_is_in_no_argv_no_environment_and_no_log(box: boxes.Box) -> None:
    watcher = Watcher(box.password)
    watcher.start()
    result = cli(box, "--yes", "--password-stdin", stdin=f"{box.password}\n")
    watcher.stop()
    assert result.returncode == 0, result.stderr
    assert watcher.seen == set()
    assert watcher.rounds > 3
    assert box.password not in result.stdout + result.stderr
    logs = (
        f"{{ journalctl; grep -rs . /var/log /tmp /home /etc/sudoers.d; }} | grep -c {box.password}"
    )
    assert inside(box, f"{logs} || true") == "0"

    watcher = Watcher(box.password)  # the control: it does see what is shown
    watcher.start()
    subprocess.run(["sh", "-c", f"sleep 1; : {box.password}"], env={"A": box.password}, check=True)
    watcher.stop()
    assert watcher.seen == {"cmdline", "environ"}


def test_a_password_that_sudo_does_not_want_is_never_run(box: boxes.Box) -> None:
    password = "touch /run/password-was-run"
    inside(
        box,
        f"echo 'ai:{password}' | chpasswd; "
        "echo 'ai ALL=(ALL) ALL, NOPASSWD: /usr/bin/sh' >/etc/sudoers.d/sh",
    )
    assert contact(box, password).changed[1:] == MADE
    assert inside(box, "ls /run/password-was-run 2>&1 || true").endswith(
        "No such file or directory"
    )


def test_a_reinstalled_box_is_let_in_only_when_somebody_says_so(box: boxes.Box) -> None:
    contact(box, box.password)
    old = known_hosts.entries(box.known_hosts, box.host)[0]
    pins = box.known_hosts.read_text()
    box = boxes.reinstall(box.name)

    refused = cli(box, "--yes", "--password-stdin", stdin=f"{box.password}\n")
    assert refused.returncode == 2
    assert f"pinned: {old.key.fingerprint} in {box.known_hosts} line 1, last seen" in refused.stderr
    assert "--reinstalled" in refused.stderr
    assert box.known_hosts.read_text() == pins
    with pytest.raises(HostKeyChanged):
        contact(box, box.password)

    replaced = cli(box, "--reinstalled", "--password-stdin", "--json", stdin=f"{box.password}\n")
    assert replaced.returncode == 0, replaced.stderr
    found = json.loads(replaced.stdout)
    assert tuple(found["changed"][1:]) == MADE
    assert found["fingerprint"] != old.key.fingerprint
    assert len(known_hosts.entries(box.known_hosts, box.host)) == 1
    again = cli(box, "--json")
    assert json.loads(again.stdout)["changed"] == []


def test_another_machine_than_the_fingerprint_says_is_not_logged_in_to(box: boxes.Box) -> None:
    wrong = cli(box, "--fingerprint", "SHA256:abc", "--password-stdin", stdin=f"{box.password}\n")
    assert (wrong.returncode, box.known_hosts.exists()) == (2, False)
    assert "not what --fingerprint says; nothing was done" in wrong.stderr
    printed = inside(box, "cat /etc/ssh/ssh_host_*.pub | ssh-keygen -lf -")
    right = re.search(r"(SHA256:\S+).*ED25519", printed)
    assert right
    done = cli(box, "--fingerprint", right[1], "--password-stdin", stdin=f"{box.password}\n")
    assert done.returncode == 0, done.stderr


def test_a_user_without_sudo_is_told_the_command_that_helps(box: boxes.Box) -> None:
    inside(box, "gpasswd -d ai sudo")
    with pytest.raises(
        DeeprigError, match=r"ai may not use sudo on .*usermod -aG sudo ai"
    ) as error:
        contact(box, box.password)
    assert "\n" not in str(error.value)
    assert inside(box, "id deeprig 2>&1 || true").endswith("no such user")
    inside(box, "usermod -aG sudo ai")  # the control: that was what it lacked
    assert contact(box, box.password).changed == MADE


def put_key(box: boxes.Box, home: str, options: str = "", end: str = "\\n") -> None:
    key = box.key.with_suffix(".pub").read_text().strip()
    inside(
        box,
        f"cd {home}; mkdir -pm 700 .ssh; printf '%s{end}' '{options}{key}' >.ssh/authorized_keys; "
        "chown -R --reference=. .ssh; chmod 600 .ssh/authorized_keys",
    )


def test_a_cloud_machine_with_a_key_and_free_sudo_needs_no_password(box: boxes.Box) -> None:
    put_key(box, "/home/ai")
    inside(box, "echo 'ai ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-cloud-init-users")
    assert contact(box, None).changed[1:] == ("user deeprig", "key of deeprig", "sudo of deeprig")


def test_root_can_make_first_contact_where_sudo_is_not_installed(box: boxes.Box) -> None:
    put_key(box, "/root")
    inside(box, "SUDO_FORCE_REMOVE=yes dpkg --purge sudo 2>&1")
    changed = contact(box, None, user="root").changed
    assert changed[1:] == ("package sudo", "user deeprig", "key of deeprig", "sudo of deeprig")


def test_a_cloud_that_wants_another_name_is_quoted(box: boxes.Box) -> None:
    put_key(box, "/root", options='command="echo Please log in as ubuntu.; exit 142" ')
    with pytest.raises(DeeprigError, match=r"gets no shell on .*Please log in as ubuntu"):
        contact(box, None, user="root")


def test_keys_that_others_put_there_stay(box: boxes.Box) -> None:
    others = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEtRYYbJlM1KVX8OTlvBnEb0KImc8tqI6b4cU4FxKGE her"
    inside(
        box,
        f"cd /home/ai; mkdir -m 700 .ssh; printf '# hers\\n{others}' >.ssh/authorized_keys; "
        "chown -R ai:ai .ssh; chmod 600 .ssh/authorized_keys",
    )
    contact(box, box.password)
    ours = box.key.with_suffix(".pub").read_text().strip()
    lines = inside(box, "cat /home/ai/.ssh/authorized_keys").splitlines()
    assert lines == ["# hers", others, ours]


def test_a_person_who_has_the_deploy_users_name_is_left_alone(box: boxes.Box) -> None:
    inside(box, "useradd --create-home --password '$6$salt$hash' deeprig")
    with pytest.raises(DeeprigError, match="a user named deeprig is there who is a person"):
        contact(box, box.password)
    assert inside(box, "passwd -S deeprig | cut -d' ' -f2") == "P"


def test_a_deploy_user_that_sshd_shuts_out_is_no_success(box: boxes.Box) -> None:
    inside(
        box,
        "echo 'AllowUsers ai' >/etc/ssh/sshd_config.d/00-allow.conf; systemctl restart ssh",
    )
    with pytest.raises(DeeprigError, match="does not let it in with the key; look there at AllowU"):
        contact(box, box.password)


def test_sudo_that_wants_a_terminal_is_told_so_and_the_remedy_mends_it(box: boxes.Box) -> None:
    """`Defaults requiretty`, as some distributions have had it."""
    inside(box, "echo 'Defaults requiretty' >/etc/sudoers.d/10-site; chmod 440 /etc/sudoers.d/*")
    with pytest.raises(DeeprigError, match=r"wants a terminal \(requiretty\)") as error:
        contact(box, box.password)
    [setting] = re.findall(r"`(Defaults:ai !requiretty)`", str(error.value))
    inside(box, f"echo '{setting}' >/etc/sudoers.d/20-site; chmod 440 /etc/sudoers.d/*")
    # It proves the deploy user's sudo, without a terminal.
    assert "sudo of deeprig" in contact(box, box.password).changed
    assert contact(box, None).changed == ()
