"""Two boxes in one inventory, one of them off: what verbs say of both, and what is sent on."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import build
from lab import boxes, network
from tests.lab.conftest import DEEPRIG, ROOT, run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def deployed(box: boxes.Box) -> None:
    report = run_on(box, build)
    assert report.error is None, report.steps


@pytest.fixture(scope="module")
def off(box: boxes.Box) -> Iterator[boxes.Box]:
    """Another box, bootstrapped and without power."""
    name = f"{box.name}-off"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    other = boxes.up(name, os=box.os)
    boxes.cut(name, off=True)
    yield other
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def inventory(box: boxes.Box, off: boxes.Box, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both boxes, and a group of both."""
    folder = tmp_path_factory.mktemp("several")
    for name, one in (("first", off), ("second", box)):
        (folder / f"of_{name}.py").write_text(one.inventory.read_text())
    file = folder / "inventory.py"
    file.write_text(
        "import of_first, of_second\n\nrigs = [*of_first.rigs, *of_second.rigs]\n"
        f'lab = ["{off.name}", "{box.name}"]\n'
    )
    return file


def deeprig(inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEEPRIG, words[0], "--inventory", str(inventory), *words[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_a_deploy_of_both_does_the_one_and_says_why_not_the_other(
    box: boxes.Box, off: boxes.Box, inventory: Path, login: Login
) -> None:
    login("sudo rm /etc/systemd/logind.conf.d/50-deeprig.conf")
    done = deeprig(inventory, "deploy", "--yes")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert (
        f"{box.name}: Base | Write /etc/systemd/logind.conf.d/50-deeprig.conf: changed"
        in done.stderr.splitlines()
    )
    *_, head, first, second = done.stdout.splitlines()
    assert head == "1 of 2 boxes are well:"
    assert first.split()[:2] == [off.name, "wrong"] and off.host in first
    assert second.split()[:3] == [box.name, "ok", "changed"], done.stderr
    found = json.loads(deeprig(inventory, "deploy", "lab", "--yes", "--json").stdout)
    assert [(one["host"], bool(one["error"]), one["changes"]) for one in found] == [
        (off.name, True, []),
        (box.name, False, []),
    ]


def test_verify_proves_the_one_and_tells_of_the_other(
    box: boxes.Box, off: boxes.Box, inventory: Path
) -> None:
    done = deeprig(inventory, "verify", "--limit", "lab")
    print(done.stdout)
    assert done.returncode == 2, done.stderr
    assert f"{box.name}: " in done.stdout and "0 failed" not in done.stdout
    assert "  ok notebook " in done.stdout and "  ok jobs " in done.stdout
    *_, head, first, second = done.stdout.splitlines()
    assert head == "1 of 2 boxes are well:"
    assert first.split()[:3] == [off.name, "not", "asked"] and "does not answer" in first
    assert second.split()[:2] == [box.name, "ok"]


def test_the_evidence_has_versions_and_results_and_nobodys_name(
    box: boxes.Box, inventory: Path, tmp_path: Path, login: Login
) -> None:
    file = tmp_path / "evidence.json"
    done = deeprig(inventory, "verify", "--limit", box.name, "--evidence", str(file), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    text = file.read_text()
    [seen] = json.loads(text)["boxes"]
    assert "Debian GNU/Linux 13" in seen["outputs"]["system"]
    assert seen["outputs"]["kind"] == "systemd-nspawn"
    assert "openssh-server 1:10" in seen["outputs"]["packages"]
    assert "jupyterlab==" in seen["outputs"]["tools"]
    assert seen["counts"]["passed"] == len([c for c in seen["checks"] if c["outcome"] == "passed"])
    token = login("sudo cat /home/ai/.config/deeprig/notebook-token").strip()
    for secret in (token, box.name, box.host, network.mac(box.host), str(box.key), box.password):
        assert secret not in text
    if kept := os.environ.get("KEEP_EVIDENCE"):
        Path(kept).write_text(text)


def test_a_watch_tells_what_breaks_and_what_is_mended(
    box: boxes.Box, inventory: Path, login: Login
) -> None:
    words = ["verify", "--inventory", str(inventory), "--limit", box.name, "--tier", "live"]
    watching = subprocess.Popen(
        [DEEPRIG, *words, "--watch", "10"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # A shell that put the tests into the background had them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    said: list[str] = []
    assert watching.stdout
    threading.Thread(target=lambda: said.extend(watching.stdout or []), daemon=True).start()

    def wait(for_what: str) -> None:
        until = time.monotonic() + 180
        while not any(for_what in line for line in said):
            assert time.monotonic() < until, (for_what, said)
            time.sleep(0.5)

    wait("ok notebook")
    as_ai = "cd /; sudo -u ai XDG_RUNTIME_DIR=/run/user/$(id -u ai) systemctl --user {} {}"
    login(as_ai.format("stop", "deeprig-notebook.service"))
    wait("jupyter answers on its port: passed -> failed")
    login(as_ai.format("start", "deeprig-notebook.service"))
    wait("jupyter answers on its port: failed -> passed")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) in (0, 2)
    print("".join(said[-20:]))


def test_plan_and_jobs_are_said_of_each(box: boxes.Box, off: boxes.Box, inventory: Path) -> None:
    plan = deeprig(inventory, "plan")
    assert plan.returncode == 2
    assert f"{box.name}: a run would change nothing" in plan.stdout
    assert "1 of 2 boxes are well:" in plan.stdout
    jobs = deeprig(inventory, "run", "--list", "--json")
    assert (jobs.returncode, json.loads(jobs.stdout)) == (2, [])
    assert f"{off.host} port 22 does not answer" in jobs.stderr


def test_off_takes_each_by_itself(box: boxes.Box, off: boxes.Box, inventory: Path) -> None:
    begun = deeprig(inventory, "run", box.name, "train", "--", "sleep", "1000")
    assert begun.returncode == 0, begun.stderr
    refused = deeprig(inventory, "off", "--limit", "lab")
    assert refused.returncode == 1
    assert "0 of 2 boxes are well:" in refused.stdout
    assert f"{box.name} stays on: there run job train of ai" in refused.stdout
    assert f"{off.host} port 22 does not answer" in refused.stderr
    gone = deeprig(inventory, "off", "--limit", box.name, "--force", "--json")
    assert json.loads(gone.stdout)["off"] is True, gone.stderr
