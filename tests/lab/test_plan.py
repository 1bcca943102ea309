"""`deeprig plan` on a box: it changes nothing there, says what is in the way and who did it.

Everything is real but the hand that holds apt's lock.
"""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import boxes
from tests.lab.conftest import DEEPRIG, ROOT, deploy, variant
from tests.lab.guarded import shell

pytestmark = pytest.mark.lab

SSHD = "/etc/ssh/sshd_config.d/10-deeprig.conf"
# What a login, a process's start and the system's own timers write, whoever logs in.
ITS_OWN = (
    "var/log/", "run/", "var/lib/systemd/", "var/lib/apt/", "var/cache/apt/", "tmp/", "var/tmp/",
    "var/lib/sudo/", "home/ai/.cache/", "home/ai/.local/", "root/",
)  # fmt: skip


def plan(box: boxes.Box, *words: str, inventory: Path | None = None) -> tuple[int, Any]:
    done = subprocess.run(
        [DEEPRIG, "plan", "--inventory", str(inventory or box.inventory), "--json", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    [said] = json.loads(done.stdout)
    return done.returncode, said


def files(box: boxes.Box) -> dict[str, str]:
    """Each file of the box's, with its size, owner, mode and times, as this machine sees it."""
    top = box.folder / "upper"  # all that was ever written: below it is the base system
    found = subprocess.run(
        ["find", top, "-xdev", "-printf", "%P\t%s %u %m %T@ %C@\n"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    pairs = (line.split("\t") for line in found)
    return {path: about for path, about in pairs if path and not f"{path}/".startswith(ITS_OWN)}


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Path:
    return variant(box, box.inventory.with_name("plan.py"),
                   ("rig=Rig(", "rig=Rig(driver=None, cuda=None, wake_on_lan=None,"))  # fmt: skip


def untouched(box: boxes.Box, inventory: Path) -> tuple[int, Any]:
    """The answer; an AssertionError where asking left anything behind."""
    shell(box)("sudo true")  # what a first login leaves is not plan's
    before = files(box)
    code, said = plan(box, inventory=inventory)
    after = files(box)
    assert {path for path in before | after if before.get(path) != after.get(path)} == set()
    return code, said


def test_a_fresh_box_is_read_and_left_as_it_is(box: boxes.Box, inventory: Path) -> None:
    code, said = untouched(box, inventory)
    assert (code, said["error"], said["in_the_way"], said["causes"]) == (0, None, [], [])
    assert len(said["changes"]) > 20


def test_what_stands_in_the_way_is_said_worst_first(box: boxes.Box, inventory: Path) -> None:
    run = shell(box)
    run("echo 'deb http://192.0.2.1/debian none main' | sudo tee /etc/apt/sources.list.d/gone.list")
    hold = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
    hold += "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(300)"
    run(f'sudo systemd-run -q --unit lab-holder python3 -c "{hold}"')
    try:
        _, said = plan(box, inventory=inventory)
    finally:
        run("sudo systemctl stop lab-holder; sudo rm /etc/apt/sources.list.d/gone.list")
    first, last = said["in_the_way"]
    assert first.startswith("http://192.0.2.1 ") and "cannot be reached" in first
    assert last.startswith("apt is in use by ") and "python3" in last


def test_a_deployed_box_would_not_change_and_is_left_as_it_is(
    box: boxes.Box, inventory: Path
) -> None:
    done = deploy(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    code, said = untouched(box, inventory)
    assert (code, said["changes"], said["in_the_way"]) == (0, [], [])
    assert plan(box, "--exit-code", inventory=inventory)[0] == 0


def test_drift_is_found_and_whose_hand_it_was(box: boxes.Box, inventory: Path) -> None:
    run = shell(box)
    free = "ai ALL=(ALL) NOPASSWD: /usr/bin/sed, /usr/bin/apt-get"
    run(f"echo '{free}' | sudo tee /etc/sudoers.d/lab; sudo chmod 440 /etc/sudoers.d/lab")
    # Anybody may write such a line; and what sudo refused did not happen either.
    said = f"  root : PWD=/ ; USER=root ; COMMAND=/usr/bin/tee {SSHD}"
    run(
        f"sudo -u nobody logger -t sudo {shlex.quote(said)}; sudo -u ai sudo -n /bin/denied || true"
    )
    run(f"sudo -u ai sudo sed -i '1s/^/# mine\\n/' {SSHD}")
    run("sudo -u ai sudo apt-get -qy remove tmux; sudo rm /etc/sudoers.d/lab")
    code, said = plan(box, "--exit-code", inventory=inventory)
    assert code == 1
    assert any("Change the way in" in change for change in said["changes"]), said["changes"]
    head, *causes = said["causes"]
    assert head.startswith("since the last run, ")
    assert f"{SSHD} was written, by ai: sudo /usr/bin/sed" in causes[0]
    [moved] = [cause for cause in causes if "Remove: " in cause]
    assert "ai: apt-get -qy remove tmux: Remove: tmux" in moved
    assert not [cause for cause in causes if "/usr/bin/tee" in cause or "denied" in cause]
    assert plan(box, inventory=inventory)[0] == 0  # only --exit-code makes it an error
