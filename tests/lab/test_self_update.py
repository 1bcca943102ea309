"""A box of the layout before the program was a package: the next deploy moves it, whatever runs."""

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import boxes
from tests.lab import drivers, earlier, kept
from tests.lab.conftest import DEEPRIG, ROOT, deploy, variant, wait_for
from tests.lab.guarded import shell
from tests.lab.receivers import Ntfy
from tests.lab.test_main_job import verify
from tests.lab.test_notebook import KERNEL, SERVE

pytestmark = pytest.mark.lab

TOP = "/usr/local/lib/deeprig"
MANIFEST = "Manifest | Write /var/lib/deeprig/manifest.json"
STATE = f"sudo {TOP}/current/deeprig-box notebook-server state"
LEAVE = "Program | No loose files of earlier versions, and nothing that calls them"
# The file that makes an end of it.
COUNT = "import pathlib, time\nwhile not pathlib.Path('enough').exists(): n += 1; time.sleep(0.2)"
JOB = "while [ ! -e ~/job-enough ]; do echo on; sleep 0.5; done; echo 'to its end'"
MANAGER = "sudo -u ai XDG_RUNTIME_DIR=/run/user/$(id -u ai) systemctl --user"
# What a notebook that computes leaves owed, until it is idle.
OWED = {
    "a second deploy would change nothing",
    "they run with the present settings",
    "what a kernel runs and prints is heard by nobody else",
}

# All that a box has which gave a card away, with an empty list: it is left alone, and moved too.
GIVE_NOTHING = """
from pyinfra.context import config
from deeprig.passthrough_settings import Passthrough
from deeprig.pci_devices import Bus
from tasks import passthrough
config.SUDO = True
given = Passthrough(gpus=("0000:01:00.0",), hand_over="when-idle")
passthrough.give(settings=given, bus=Bus())
"""

Run = Callable[..., str]


class Moved(NamedTuple):
    """The box, that was deployed by the earlier tree, its inventories, and what ran on it."""

    box: boxes.Box
    tree: Path
    whole: Path
    kernel: str
    pids: dict[str, str]


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


def kernel(run: Run, *words: str) -> str:
    argv = ["sudo", "-u", "ai", "/opt/deeprig/notebook/bin/python", "-c", KERNEL, *words]
    return run(f"cd /; {shlex.join(argv)}").strip()


def pids(run: Run) -> dict[str, str]:
    """The processes that a move must not end."""
    names = {"kernel": "ipykernel_launcher", "job": "job-window train", "server": "bin/jupyter-lab"}
    return {
        name: run(f"pgrep -o -u ai -f {shlex.quote(words)}", check=False).strip()
        for name, words in names.items()
    }


def run_job(box: boxes.Box, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEEPRIG, "run", box.name, "--inventory", str(box.inventory), *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def moved(box: boxes.Box, run: Run) -> Iterator[Moved]:
    """Deployed by the earlier tree, with a job and a kernel at work; then by today's."""
    server = Ntfy()
    server.start()
    parts = f'notify="{server.url("topic")}", wake_on_lan=WakeOnLan(interface="eth0"),'
    whole = variant(
        box,
        box.inventory.with_name("whole.py"),
        ("rig=Rig(", f"rig=Rig({parts}"),
        ("import Notebook,", "import WakeOnLan, Notebook,"),
    )
    with earlier.tree() as tree:
        plain = box.inventory.with_name("earlier.py")  # its planner has no day to be told
        plain.write_text(whole.read_text().partition("\nimport datetime")[0])
        earlier.deploy(tree, plain)
        (tree / "give.py").write_text(GIVE_NOTHING)
        earlier.deploy(tree, plain, "give.py")
        run("sudo rm -r /etc/default/grub.d")  # a container has no GRUB
        # The control: there they are, and are called.
        assert {"watch", "job", "passthrough-bind"} <= earlier.left_of(tree, run(f"ls {TOP}"))
        assert len(run(earlier.who_names_them(tree)).splitlines()) >= 5
        kept.keep(box)
        kept.go_back(box)
        wait_for(lambda: run(f"sudo {TOP}/notebook-server state", check=False).strip() == "ok", 90)
        for name in ("train", "other"):
            earlier.deeprig(tree, "run", box.name, "--inventory", str(plain), name, "--", JOB)
        computes = kernel(run, "new")
        kernel(run, "run", computes, "mine, n = 41, 0")
        kernel(run, "leave", computes, f"import os; os.chdir('/home/ai')\n{COUNT}")
        before = pids(run)
        assert all(before.values())
        done = deploy(whole)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        assert "The restart is left for later: 1 busy kernel" in done.stdout + done.stderr
        yield Moved(box, tree, whole, computes, before)
    server.stop()


def test_the_job_and_the_kernel_go_on(moved: Moved, run: Run) -> None:
    assert pids(run) == moved.pids
    assert kernel(run, "list") == f"{moved.kernel} busy"


def test_only_what_the_notebook_runs_on_is_left(moved: Moved, run: Run) -> None:
    """tmux starts it anew by its path, should it be killed."""
    assert earlier.left_of(moved.tree, run(f"ls {TOP}")) == {"notebook-window"}
    assert run(earlier.who_names_them(moved.tree)) == ""


def test_the_second_deploy_changes_nothing(moved: Moved) -> None:
    assert drivers.changes(deploy(moved.whole)) == []


def test_verify_says_that_the_notebooks_restart_is_owed_and_no_more(moved: Moved) -> None:
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(moved.whole), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    wrong = {c["check"] for c in found if c["outcome"] not in ("passed", "skipped")}
    assert wrong == OWED


def test_the_kernel_has_its_variables_when_it_is_done(moved: Moved, run: Run) -> None:
    run("sudo -u ai touch ~ai/enough")
    wait_for(lambda: kernel(run, "list") == f"{moved.kernel} idle", 30)
    assert kernel(run, "run", moved.kernel, "print(mine + 1, n > 10)") == "42 True"
    assert pids(run) == moved.pids


def test_the_next_deploy_leaves_nothing_of_the_old_layout(moved: Moved, run: Run) -> None:
    assert drivers.changes(deploy(moved.whole)) == [SERVE, LEAVE, MANIFEST]
    assert run(f"ls {TOP}").split() == [run(f"readlink {TOP}/current").strip(), "current"]
    assert run(earlier.who_names_them(moved.tree)) == ""
    assert drivers.changes(deploy(moved.whole)) == []
    verify(moved.whole)


def test_a_job_is_stopped_and_another_ends_as_it_would_have(moved: Moved, run: Run) -> None:
    assert pids(run)["job"] == moved.pids["job"]
    assert run_job(moved.box, "--stop", "other").returncode == 0
    assert run("pgrep -u ai -f 'job-window other'", check=False) == ""
    run("sudo -u ai touch ~ai/job-enough")
    done = run_job(moved.box, "--follow", "train")
    assert (done.returncode, "to its end" in done.stdout) == (0, True), done.stderr


def test_a_notebook_that_is_left_alone_is_started_by_its_new_path(moved: Moved, run: Run) -> None:
    """Its user's systemd has read the unit that the deploy changed."""
    kept.go_back(moved.box)
    notebook = 'notebook=Notebook(user="ai")', "notebook=None"
    alone = variant(moved.box, moved.whole.with_name("alone.py"), notebook)
    assert LEAVE in drivers.changes(deploy(alone))
    run(f"{MANAGER} stop deeprig-notebook")
    assert LEAVE in drivers.changes(deploy(alone))  # of its window's file
    assert earlier.left_of(moved.tree, run(f"ls {TOP}")) == set()
    run(f"{MANAGER} start deeprig-notebook")
    wait_for(lambda: run(STATE, check=False).strip() == "ok", 60)


def test_parts_are_taken_out_in_the_very_deploy_that_moves_the_box(moved: Moved, run: Run) -> None:
    kept.go_back(moved.box)
    absent = "absent={'notebook', 'python', 'notify', 'wake_on_lan', 'firewall'}"
    gone = variant(
        moved.box,
        moved.whole.with_name("gone.py"),
        ('notebook=Notebook(user="ai"),', ""),
        ('python=Python(python="system")', absent),
    )
    said = drivers.changes(deploy(gone))
    assert {f"Absent | Take out {name}" for name in ("notebook", "python", "notify")} <= {*said}
    assert run(f"ls {TOP}").split() == [run(f"readlink {TOP}/current").strip(), "current"]
    assert run(earlier.who_names_them(moved.tree)) == ""
    assert drivers.changes(deploy(gone)) == []
    verify(gone)
