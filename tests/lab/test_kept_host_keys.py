"""Host keys that go home after a reinstall, or do not: then the box is as it was."""

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprig.bootstrap import reinstall
from deeprig.ssh import connection, host_key_backup
from lab import boxes, guest
from tasks import host_keys
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT, host_data, run_on
from tests.lab.test_bootstrap import inside

pytestmark = pytest.mark.lab

KEEP = """\
from pyinfra.context import config
from tasks import host_keys
config.SUDO = True
host_keys.keep(public_key={key!r})
"""
STATE = "cd /etc/ssh; sha256sum ssh_host_*; stat -c '%n %a %U:%G' ssh_host_*"


def public_key(box: boxes.Box) -> str:
    return box.key.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def kept(box: boxes.Box) -> boxes.Box:
    """A box whose host keys are kept beside its known_hosts."""
    inside(box, "echo what an old cloud image left >/etc/ssh/ssh_host_dsa_key")
    report = run_on(box, lambda rig: host_keys.keep(public_key=public_key(box)))
    assert report.error is None
    assert report.changes == ["SSH host keys | Keep the host keys here, encrypted"]
    return box


def file_of(box: boxes.Box) -> Path:
    return host_key_backup.file_of(box.known_hosts, box.host)


@pytest.fixture
def fresh(kept: boxes.Box) -> Iterator[boxes.Box]:
    """The same box, just reinstalled; whoever pinned it before is in the file `client`."""
    before = kept.known_hosts.read_text()
    (kept.folder / "client").write_text(before)
    yield boxes.reinstall(kept.name)
    kept.known_hosts.write_text(before)


def bootstrap(box: boxes.Box, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEEPRIG, "bootstrap", box.name, "--inventory", str(box.inventory), "--reinstalled",
         "--password-stdin", *options],
        cwd=ROOT, input=f"{box.password}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip


def shown(box: boxes.Box) -> tuple[str, str]:
    """An option with the fingerprint that is on the box's own screen."""
    ed25519 = next(key for key in guest.fingerprints(box.upper) if key in printed(box))
    return ("--fingerprint", ed25519)


def printed(box: boxes.Box) -> str:
    return inside(box, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")


def client(box: boxes.Box) -> subprocess.CompletedProcess[str]:
    """OpenSSH, on a machine that pinned the box before the reinstall."""
    return subprocess.run(
        ["ssh", "-F", "none", "-i", str(box.key), "-oBatchMode=yes", "-oStrictHostKeyChecking=yes",
         f"-oUserKnownHostsFile={box.folder / 'client'}", f"deeprig@{box.host}", "sudo -n true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_second_run_changes_nothing_and_asks_for_no_private_key(kept: boxes.Box) -> None:
    before = file_of(kept).read_bytes()
    report = run_on(kept, lambda rig: host_keys.keep(public_key=public_key(kept)))
    assert (report.error, report.changes) == (None, [])
    assert file_of(kept).read_bytes() == before


def test_no_output_shows_a_private_key(kept: boxes.Box, tmp_path: Path) -> None:
    file_of(kept).unlink()
    (tmp_path / "keep.py").write_text(KEEP.format(key=public_key(kept)))
    done = subprocess.run(
        [PYINFRA, "-y", "-vvv", "--debug-all", str(kept.inventory), str(tmp_path / "keep.py")],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert file_of(kept).is_file()
    said = done.stdout + done.stderr
    assert "SHA256:" in said  # the control: it does print what the box prints
    secrets = inside(kept, "cat /etc/ssh/ssh_host_*_key").splitlines()
    assert len(secrets) > 40
    assert not [line for line in secrets if line in said]
    assert "PRIVATE KEY" not in said


def test_a_box_gets_its_keys_back_and_no_client_is_asked(fresh: boxes.Box) -> None:
    stranger = client(fresh)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in stranger.stderr  # the control
    done = bootstrap(fresh, *shown(fresh))
    assert done.returncode == 0, done.stderr
    assert "changed: host keys (those from before the reinstall are back)" in done.stdout
    known = client(fresh)
    assert (known.returncode, known.stderr) == (0, "")
    modes = inside(fresh, "stat -c '%n %a %U' /etc/ssh/ssh_host_*").splitlines()
    assert {line.split(" ", 1)[1] for line in modes if ".pub " in line} == {"644 root"}
    assert {line.split(" ", 1)[1] for line in modes if ".pub " not in line} == {"600 root"}
    assert inside(fresh, "ls -d /run/deeprig* /etc/ssh/.deeprig* 2>/dev/null || true") == ""
    assert "deeprig" not in inside(fresh, "systemctl list-timers --all --no-legend")

    again = bootstrap(fresh)
    assert again.returncode == 0, again.stderr
    assert "changed: nothing" in again.stdout
    report = run_on(fresh, lambda rig: host_keys.keep(public_key=public_key(fresh)))
    assert (report.error, report.changes) == (None, [])


def test_nothing_happens_unless_somebody_vouches_for_the_new_key(fresh: boxes.Box) -> None:
    before, pins = inside(fresh, STATE), fresh.known_hosts.read_text()
    for options in ((), ("--fingerprint", "SHA256:abc")):
        done = bootstrap(fresh, *options)
        assert done.returncode == 2
    assert inside(fresh, STATE) == before
    assert inside(fresh, "id deeprig 2>&1 || true").endswith("no such user")
    assert fresh.known_hosts.read_text() == pins


def test_another_key_of_mine_is_one_line_and_nothing_changes(
    fresh: boxes.Box, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    before, pins = inside(fresh, STATE), fresh.known_hosts.read_text()
    done = bootstrap(fresh, *shown(fresh), "--identity", str(other))
    assert done.returncode == 2
    assert f"opens with none of {other}; name the private key of ssh-ed25519" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert inside(fresh, STATE) == before
    assert inside(fresh, "id deeprig 2>&1 || true").endswith("no such user")
    assert fresh.known_hosts.read_text() == pins


def test_a_box_that_does_not_show_them_keeps_the_installers(fresh: boxes.Box) -> None:
    inside(
        fresh,
        "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/elsewhere; "
        "echo HostKey /etc/ssh/elsewhere >/etc/ssh/sshd_config.d/00-elsewhere.conf; "
        "systemctl restart ssh",
    )
    elsewhere = inside(fresh, "ssh-keygen -lf /etc/ssh/elsewhere").split()[1]
    before, pins = inside(fresh, STATE), fresh.known_hosts.read_text()
    done = bootstrap(fresh, "--fingerprint", elsewhere)
    assert done.returncode == 2
    assert "did not show its kept host keys" in done.stderr
    assert "the installer's are back, and nothing was pinned" in done.stderr
    assert inside(fresh, STATE) == before
    assert fresh.known_hosts.read_text() == pins
    assert inside(fresh, "ls /run/deeprig-host-keys 2>&1 || true").endswith(
        "No such file or directory"
    )


def test_a_broken_sshd_setting_stops_it_before_sshd_restarts(fresh: boxes.Box) -> None:
    inside(fresh, "echo Nonsense yes >/etc/ssh/sshd_config.d/99-nonsense.conf")
    sshd = "systemctl show -P MainPID ssh.service"
    before, running = inside(fresh, STATE), inside(fresh, sshd)
    done = bootstrap(fresh, *shown(fresh))
    assert done.returncode == 2
    assert "could not be put back" in done.stderr
    assert (inside(fresh, STATE), inside(fresh, sshd)) == (before, running)
    inside(fresh, "rm /etc/ssh/sshd_config.d/99-nonsense.conf")
    assert bootstrap(fresh, *shown(fresh)).returncode == 0  # the control: that was it


def test_keys_that_nobody_confirmed_go_by_themselves(fresh: boxes.Box) -> None:
    boxes.reinstall(fresh.name, bootstrap=True)
    before = inside(fresh, STATE)
    opened = host_key_backup.open_with(file_of(fresh), fresh.key.read_bytes())
    assert opened
    with connection.connect(host_data(fresh)) as login:
        transport = login.get_transport()
        assert transport
        reinstall.put(transport, opened)  # and the link breaks
    assert inside(fresh, STATE) != before
    left = inside(fresh, "systemctl show -P NextElapseUSecMonotonic deeprig-host-keys.timer")
    assert left != ""
    inside(fresh, "systemctl start --wait deeprig-host-keys.service")  # the two minutes are over
    assert inside(fresh, STATE) == before
    connection.connect(host_data(fresh)).close()


def at_a_terminal(command: list[str], answers: dict[str, str]) -> tuple[int, str]:
    """Exit status and screen of a command, where each prompt is answered once it is there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execv(command[0], command)
    screen, asked = "", dict(answers)
    while True:
        try:
            said = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # how Linux says that the other side has hung up
            break
        if not said:
            break
        screen += said
        for prompt in [prompt for prompt in asked if prompt in screen]:
            time.sleep(0.2)  # what is typed before the echo is off is thrown away
            os.write(terminal, f"{asked.pop(prompt)}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    assert not asked, screen
    return status, screen


def test_the_passphrase_of_a_locked_key_is_asked_for_and_not_shown(
    fresh: boxes.Box, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    shutil.copy(fresh.key, locked)
    new = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(locked)]
    subprocess.run(new, check=True)
    command = [DEEPRIG, "bootstrap", fresh.name, "--inventory", str(fresh.inventory)]
    command += ["--reinstalled", "--identity", str(locked)]
    status, screen = at_a_terminal(
        command,
        {
            f"Passphrase of {locked}": "open sesame",
            "Is it? [y/N]": "y",
            "Password of ai": fresh.password,
        },
    )
    assert status == 0, screen
    assert "host keys (those from before the reinstall are back)" in screen
    assert "open sesame" not in screen and fresh.password not in screen
    assert client(fresh).returncode == 0


def test_without_a_terminal_a_locked_key_is_one_line(fresh: boxes.Box, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    shutil.copy(fresh.key, locked)
    new = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(locked)]
    subprocess.run(new, check=True)
    before = inside(fresh, STATE)
    done = bootstrap(fresh, *shown(fresh), "--identity", str(locked))
    assert done.returncode == 2
    assert f"{locked} has a passphrase, there is no terminal" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert inside(fresh, STATE) == before
