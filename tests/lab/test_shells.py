"""Login shells of every kind, start-up files as people have them: every verb works, or says why.

The shells are the real ones, for the deploy user and for the work user alike.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from deploy import build
from lab import boxes
from tests.lab.conftest import DEEPRIG, ROOT, deploy, run_on
from tests.lab.test_bootstrap import contact, inside, ssh
from tests.lab.tunnels import tunnel

pytestmark = pytest.mark.lab

SHELLS = ("/bin/bash", "/bin/dash", "/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/tcsh")
PACKAGES = "apt-get -q update && apt-get -q -y install --no-install-recommends fish zsh tcsh"
Login = Callable[..., str]


def cli(box: boxes.Box, verb: str, *words: str, seconds: float = 600) -> tuple[int, str]:
    """A verb's exit status, and what it says."""
    done = subprocess.run(
        [DEEPRIG, verb, "--inventory", str(box.inventory), *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def verified(box: boxes.Box) -> list[str]:
    """What `deeprig verify` found wrong; of nothing wrong, that it asked enough."""
    done = subprocess.run(
        [DEEPRIG, "verify", "--json", "--inventory", str(box.inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    checks = json.loads(done.stdout)
    assert len([c for c in checks if c["outcome"] == "passed"]) >= 60, done.stderr
    bad = ("failed", "unasked")
    return [f"{c['check']}: {c['reason']}" for c in checks if c["outcome"] in bad]


def run_job(box: boxes.Box, name: str) -> None:
    """A job that says something, followed to its end."""
    code, said = cli(box, "run", box.name, name, "--", "echo it is $((6 * 7))")
    assert code == 0, said
    code, said = cli(box, "run", box.name, "--follow", name)
    assert (code, "it is 42" in said) == (0, True), said


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """A box as the installer leaves it, with these shells on it."""
    name = "t-shells-bare"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    made = boxes.up(name, os=str(request.config.getoption("--os")), bare=True)
    inside(made, f"({PACKAGES}) >/dev/null 2>&1")
    yield made
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.mark.parametrize("shell", SHELLS)
def test_first_contact_with_somebody_who_has_this_shell(machine: boxes.Box, shell: str) -> None:
    inside(machine, f"usermod --shell {shell} ai; userdel -rf deeprig 2>/dev/null || true")
    assert contact(machine, machine.password).user == "deeprig"
    assert ssh(machine, "deeprig", "sudo -n id -un") == "root"
    inside(machine, f"usermod --shell {shell} deeprig")
    assert contact(machine, None).changed == ()  # by the key, and through that shell


def test_first_contact_where_the_shell_prints_and_starts(machine: boxes.Box) -> None:
    inside(
        machine,
        "usermod --shell /bin/bash ai; userdel -rf deeprig 2>/dev/null || true; "
        "sed -i '1i echo \"*** welcome ***\"' /etc/bash.bashrc",
    )
    assert contact(machine, machine.password).user == "deeprig"


@pytest.fixture(scope="module")
def deployed(box: boxes.Box) -> boxes.Box:
    inside(box, f"({PACKAGES}) >/dev/null 2>&1")
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    return box


@pytest.fixture
def as_before(deployed: boxes.Box) -> Iterator[boxes.Box]:
    """The shells and start-up files go back to what they were."""
    kept = "/etc/bash.bashrc /home/ai/.bashrc /home/ai/.profile"
    inside(deployed, f"tar -cPf /root/kept.tar {kept}")
    yield deployed
    inside(
        deployed,
        "tar -xPf /root/kept.tar; rm -f /home/ai/.bash_profile; "
        "usermod --shell /bin/bash ai; usermod --shell /bin/bash deeprig",
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_works_with_this_shell(as_before: boxes.Box, shell: str) -> None:
    box = as_before
    inside(box, f"usermod --shell {shell} ai; usermod --shell {shell} deeprig")
    report = run_on(box, build)
    assert (report.error, report.changes) == (None, [])
    assert verified(box) == []
    run_job(box, f"with-{shell.rpartition('/')[2]}")
    with tunnel(box.inventory, box.name, "--json") as opened:
        assert opened.answers()


def test_a_shell_that_prints_is_in_no_answer(as_before: boxes.Box) -> None:
    inside(
        as_before,
        "for f in /etc/bash.bashrc /home/ai/.bashrc; do "
        "sed -i '1i echo \"*** welcome to the box ***\"; echo hello >&2' $f; done",
    )
    report = run_on(as_before, build)
    assert (report.error, report.changes) == (None, [])
    assert verified(as_before) == []
    run_job(as_before, "loud")


def test_a_shell_that_becomes_tmux_is_named_and_nothing_fails(as_before: boxes.Box) -> None:
    inside(as_before, "sed -i '1i [ -z \"$TMUX\" ] && exec tmux' /home/ai/.bashrc")
    done = subprocess.run(
        [DEEPRIG, "verify", "--json", "--inventory", str(as_before.inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    checks = {c["check"]: c for c in json.loads(done.stdout)}
    assert [c for c in checks.values() if c["outcome"] in ("failed", "unasked")] == []
    told = checks["uv is found without its path: shell in a login"]
    assert told["outcome"] == "skipped" and "a file that it reads first" in told["reason"]
    assert checks["no library path is set"]["outcome"] == "warned"
    run_job(as_before, "within-tmux")


def test_a_job_whose_command_never_began_is_told_as_such(
    as_before: boxes.Box, login: Login
) -> None:
    inside(as_before, "echo 'exec zsh -l' > /home/ai/.bash_profile")
    code, said = cli(as_before, "run", as_before.name, "never", "--", "touch ~/ran")
    assert code == 1
    assert "the command never began" in said and "~/.bash_profile" in said, said
    assert login("sudo ls /home/ai").find("ran") < 0
    code, said = cli(as_before, "run", as_before.name, "--list", "--json")
    [job] = [job for job in json.loads(said) if job["name"] == "never"]
    assert (job["state"], job["status"]) == ("failed", None)  # so nothing waits for it


def test_one_session_at_a_time_is_enough_for_verify(deployed: boxes.Box, login: Login) -> None:
    own = "/etc/ssh/sshd_config.d/00-own.conf"
    login(f"echo MaxSessions 1 | sudo tee {own}; sudo systemctl reload ssh")
    try:
        assert verified(deployed) == []
    finally:
        login(f"sudo rm {own}; sudo systemctl reload ssh")
