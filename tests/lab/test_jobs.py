"""`deeprig run`: jobs that outlive connections and deploys, whose end is known, on idle cards."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deeprig.settings import Rig
from deeprig.ssh.box_source import BOX
from lab import boxes, fake_gpu
from tasks import base, jobs, network_access, notebook, python_env
from tests.lab.conftest import DEEPRIG, ROOT, run_on, wait_for

pytestmark = pytest.mark.lab

Login = Callable[..., str]
Run = Callable[..., subprocess.CompletedProcess[str]]


def build(rig: Rig) -> None:
    assert rig.python and rig.notebook
    network_access.provide(settings=rig)
    base.have_program()
    asked = python_env.Asked(rig.python, rig.notebook.user)
    python_env.begin_tools(asked=asked)
    python_env.begin(asked=asked)
    python_env.finish_tools(asked=asked)
    python_env.finish(asked=asked)
    notebook.serve(settings=rig.notebook)
    jobs.provide()


@pytest.fixture(scope="module", autouse=True)
def deployed(box: boxes.Box) -> None:
    report = run_on(box, build)
    assert report.error is None, report.steps


@pytest.fixture
def run(box: boxes.Box) -> Run:
    """`deeprig run` on the box, with these words."""

    def call(*words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(box, *words),
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip

    return call


def _command(box: boxes.Box, *words: str) -> list[str]:
    return [DEEPRIG, "run", box.name, "--inventory", str(box.inventory), *words]


@pytest.fixture(autouse=True)
def ended(run: Run) -> Iterator[None]:
    """No test leaves a job behind."""
    yield
    for job in json.loads(run("--list", "--json").stdout):
        if job["state"] == "running":
            assert run("--stop", job["name"]).returncode == 0


@pytest.fixture
def job(run: Run) -> Callable[[str], dict[str, Any]]:
    """One job as the list has it."""

    def find(name: str) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = json.loads(run("--list", "--json").stdout)
        [found] = [job for job in jobs if job["name"] == name]
        return found

    return find


def test_a_second_deploy_changes_nothing(box: boxes.Box) -> None:
    assert run_on(box, build).changes == []


def test_its_end_decides_the_exit_code_of_who_follows(run: Run) -> None:
    for name, command, state, code in (
        ("well", "sleep 3; echo 'all is well'", "done", 0),
        ("badly", "sleep 3; echo 'it went wrong'; exit 7", "failed", 1),
    ):
        begun = run(name, "--", command)
        assert begun.returncode == 0, begun.stderr
        assert f"{name} runs on " in begun.stdout and "tmux -L deeprig-jobs attach" in begun.stdout
        followed = run("--follow", name)
        assert followed.returncode == code
        assert followed.stdout.startswith(("all is well\n", "it went wrong\n"))
        again = run("--follow", name, "--json")
        said = json.loads(again.stdout)
        assert (again.returncode, said["state"]) == (code, state)
        assert said["status"] == (7 if code else 0)
    assert re.search(r'failed with status 7 after \d s: "it went wrong"\.', followed.stdout)


def test_a_log_and_a_record_steer_no_terminal(run: Run, login: Login) -> None:
    run("colours", "--", r"printf 'a\033]0;PWN\007\033[2J\033[31mb\033[0m\n'")
    assert run("--follow", "colours").stdout.startswith("a\x1b[31mb\x1b[0m\n")
    record = "/home/ai/.local/state/deeprig/jobs/colours/job.json"
    login(f"sudo sed -i 's/printf/\\\\u001b]52;c;x\\\\u0007/' {record}")
    listed = run("--list")
    assert listed.returncode == 0 and "\\x1b]52;c;x\\x07" in listed.stdout
    assert "\x1b" not in listed.stdout
    login(f'sudo sed -i \'s/"command": "/"command": 7, "x": "/\' {record}')
    odd = run("--list")
    assert (odd.returncode, odd.stdout) == (2, "")
    assert odd.stderr.count("\n") == 1 and "says of its jobs what cannot be so" in odd.stderr
    login("sudo rm -r /home/ai/.local/state/deeprig/jobs/colours")


def test_what_cannot_run_is_said_at_once(run: Run) -> None:
    done = run("typo", "--", "pythn", "train.py")
    assert done.returncode == 1
    assert "failed with status 127" in done.stdout and "pythn: command not found" in done.stdout


def test_words_reach_the_command_as_they_were_typed(run: Run) -> None:
    run("words", "--", "printf", "<%s>", "a b", "$HOME", "it's", "--lr=0.1")
    assert "<a b><$HOME><it's><--lr=0.1>" in run("--follow", "words").stdout
    run("shell", "--", "echo $HOME; command -v python")
    assert run("--follow", "shell").stdout.startswith("/home/ai\n/home/ai/envs/base/bin/python\n")


def test_it_is_a_window_that_can_be_typed_into(run: Run, job: Any, login: Login) -> None:
    run("asks", "--", "read answer; echo got $answer")
    tmux = "sudo -u ai tmux -L deeprig-jobs"
    assert "asks" in login(f"{tmux} list-windows -t jobs -F '#W'").split()
    login(f"{tmux} send-keys -t jobs:asks 'forty two' Enter")
    followed = run("--follow", "asks")
    assert (followed.returncode, "got forty two" in followed.stdout) == (0, True)

    run("interrupted", "--", "sleep", "1000")
    login(f"{tmux} send-keys -t jobs:interrupted C-c")
    assert run("--follow", "interrupted").returncode == 1

    run("closed", "--", "sleep", "1000")
    login(f"{tmux} kill-window -t jobs:closed")
    wait_for(lambda: job("closed")["state"] == "stopped", 30)
    assert login("pgrep -u ai -fx 'sleep 1000'", check=False) == ""


def test_it_outlives_a_deploy_that_restarts_the_notebook(
    box: boxes.Box, run: Run, login: Login
) -> None:
    run("train", "--", "sleep", "1000")
    before = login("pgrep -u ai -fx 'sleep 1000'")
    server = login("pgrep -o -u ai -f bin/jupyter-lab")
    assert "Notebook server" in run_on(box, with_port(6007)).changes[-1]
    assert login("pgrep -o -u ai -f bin/jupyter-lab") != server  # the control: it did restart
    assert run_on(box, build).error is None
    assert login("pgrep -u ai -fx 'sleep 1000'") == before
    login("sudo systemctl restart ssh; sudo -u ai tmux -L deeprig kill-server")
    assert login("pgrep -u ai -fx 'sleep 1000'") == before


def with_port(number: int) -> Callable[[Rig], None]:
    """The same box with another setting of the notebook."""

    def changed(rig: Rig) -> None:
        assert rig.notebook
        notebook.serve(settings=replace(rig.notebook, tensorboard_port=number))
        jobs.provide()

    return changed


def test_a_name_is_taken_while_it_runs_and_the_log_before_is_kept(run: Run, login: Login) -> None:
    run("twice", "--", "echo first")
    run("twice", "--", "echo second; sleep 1000")
    refused = run("twice", "--", "true")
    assert refused.returncode == 1
    assert "A job twice runs there already" in refused.stderr
    logs = "/home/ai/.local/state/deeprig/jobs"
    assert login(f"sudo cat {logs}/twice.before/log {logs}/twice/log") == "first\nsecond\n"


def test_stop_ends_all_that_it_started(run: Run, login: Login) -> None:
    run("family", "--", "setsid nohup sleep 4321 & trap 'echo saved' TERM; sleep 5432 & wait; wait")
    assert login("pgrep -c -u ai -fx 'sleep (4321|5432)'").strip() == "2"
    stopped = run("--stop", "family", "--json")
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout)["state"] == "stopped"
    assert login("pgrep -u ai -fx 'sleep (4321|5432)'", check=False) == ""
    assert "saved" in run("--follow", "family").stdout  # it had its chance
    again = run("--stop", "family")
    assert (again.returncode, "does not run; it is stopped" in again.stderr) == (1, True)
    unknown = run("--stop", "nobody")
    assert (unknown.returncode, "There is no job nobody" in unknown.stderr) == (1, True)


def test_the_end_is_known_also_where_all_of_it_was_killed(run: Run, job: Any, login: Login) -> None:
    """As by the kernel, where the memory is full."""
    run("greedy", "--", "sleep", "1000")
    login(
        "sudo systemctl --user --machine=ai@.host kill --signal=KILL deeprig-job-greedy.scope "
        "|| sudo pkill -KILL -u ai -fx 'sleep 1000'"
    )
    wait_for(lambda: job("greedy")["state"] != "running", 20)
    assert (job("greedy")["state"], job("greedy")["status"]) == ("failed", 137)


def test_who_follows_misses_nothing_where_the_link_is_cut(box: boxes.Box, login: Login) -> None:
    # The second half waits for the cut, however slow this machine is.
    half = "for i in $(seq {}); do echo line $i; sleep 0.1; done"
    waits = "until [ -e ~/cut ]; do sleep 0.1; done"
    counts = f"{half.format('1 40')}; {waits}; {half.format('41 80')}"
    run_it = _command(box, "counts", "--", counts)
    subprocess.run(run_it, cwd=ROOT, check=True, capture_output=True)
    follower = subprocess.Popen(
        _command(box, "--follow", "counts"),
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert follower.stdout and follower.stderr
    begun = follower.stdout.readline()  # only then there is a link that can be cut
    login("sudo pkill -KILL -f 'sshd-session: deeprig|sshd: deeprig'", check=False)
    login("sudo -u ai touch /home/ai/cut")
    # Not communicate(): what came with the first line would be lost.
    out, err = begun + follower.stdout.read(), follower.stderr.read()
    assert follower.wait(120) == 0, err
    assert "The link " in err and "the job" in err  # the control: it was cut
    lines = [line for line in out.splitlines() if line.startswith("line ")]
    assert lines == [f"line {number + 1}" for number in range(80)]


def test_a_card_goes_to_one_job(box: boxes.Box, run: Run, job: Any, login: Login) -> None:
    """The cards are fake: what is shown is which of them a job is told to use."""
    fake_gpu.put(box, "four-1080ti")
    try:
        uuids = [line.split("UUID: ")[1][:-1] for line in login("nvidia-smi -L").splitlines()]
        assert len(uuids) == 4
        apps = f"{uuids[0]}, 812, /home/ai/envs/base/bin/python"
        login(f"echo '{apps}' | sudo tee /etc/deeprig-lab-gpu/apps")

        show = "echo cards=$CUDA_VISIBLE_DEVICES; sleep 1000"
        assert (
            "on GPU 2 (NVIDIA GeForce GTX 1080 Ti)" in run("one", "--gpu", "2", "--", show).stdout
        )
        run("rest", "--", show)
        assert [card["index"] for card in job("rest")["gpus"]] == ["1", "3"]
        assert login(log("rest")) == f"cards={uuids[1]},{uuids[3]}\n"

        refused = run("late", "--", show)
        assert refused.returncode == 1
        assert "No GPU is idle: python (process 812) on GPU 0" in refused.stderr
        assert "job rest on GPU 1" in refused.stderr and "job one on GPU 2" in refused.stderr
        assert "Name one with --gpu" in refused.stderr

        run("none", "--gpu", "none", "--", show)
        assert login(log("none")) == "cards=\n"
        run("named", "--gpu", uuids[0][:12], "--", show)
        assert login(log("named")) == f"cards={uuids[0]}\n"
        wrong = run("wrong", "--gpu", "7", "--", show)
        assert (wrong.returncode, "There is no GPU '7' here" in wrong.stderr) == (1, True)

        run("--stop", "rest")
        assert run("late", "--", show).returncode == 0  # the control: now there are
    finally:
        fake_gpu.take_out(box)


def log(name: str) -> str:
    return f"sudo cat /home/ai/.local/state/deeprig/jobs/{name}/log"


CELLS = ["print('begin')", "x = 6 * 7\nx", "import time; time.sleep({}); print('slept')", "{}"]


def ipynb(folder: Path, *, last: str, sleep: float = 0) -> Path:
    """A notebook of four cells, its kernel one that only its author has."""
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None,
         "source": text.format(sleep if "time" in text else last), "id": f"c{number}"}
        for number, text in enumerate(CELLS)
    ]  # fmt: skip
    kernel = {"name": "mine", "display_name": "Mine"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    file = folder / "night.ipynb"
    file.write_text(json.dumps(made))
    return file


def outputs(login: Login, path: str) -> list[list[str]]:
    kept = json.loads(login(f"sudo cat {path}"))
    return [
        ["".join(o.get("text") or o.get("data", {}).get("text/plain") or o["evalue"])
         for o in cell["outputs"]]
        for cell in kept["cells"]
    ]  # fmt: skip


def test_a_notebook_of_this_machine_runs_and_is_kept(
    run: Run, login: Login, tmp_path: Path
) -> None:
    """By a kernel that no other account can listen to."""
    last = "from ipykernel.connect import *; print(get_connection_info(unpack=True)['transport'])"
    begun = run("nb", "--json", "--", str(ipynb(tmp_path, last=last)))
    kept = json.loads(begun.stdout)["notebook"]
    assert kept.startswith("/home/ai/notebooks/night.nb-")
    followed = run("--follow", "nb")
    assert followed.returncode == 0, followed.stdout
    assert "There is no kernel 'mine' here; it runs in deeprig-base." in followed.stdout
    assert "--- cell 2 of 4\n42\n" in followed.stdout
    assert outputs(login, kept) == [["begin\n"], ["42"], ["slept\n"], ["ipc\n"]]


def test_a_notebook_that_fails_keeps_what_it_came_to(
    run: Run, login: Login, tmp_path: Path
) -> None:
    text = ipynb(tmp_path, last="1 / 0").read_text()
    login(f"sudo -u ai tee /home/ai/notebooks/there.ipynb >/dev/null <<'END'\n{text}\nEND")
    kept = json.loads(run("there", "--json", "--", "there.ipynb").stdout)["notebook"]
    followed = run("--follow", "there")
    assert followed.returncode == 1
    assert "A cell failed: ZeroDivisionError: division by zero" in followed.stdout
    assert outputs(login, kept)[1:] == [["42"], ["slept\n"], ["division by zero"]]
    nowhere = run("nowhere", "--", "nowhere.ipynb")
    assert (nowhere.returncode, "nowhere.ipynb is neither here nor" in nowhere.stderr) == (1, True)


def test_a_notebook_that_is_stopped_keeps_what_it_came_to(
    run: Run, login: Login, tmp_path: Path
) -> None:
    begun = run("nb", "--json", "--", str(ipynb(tmp_path, last="print('end')", sleep=1000)))
    wait_for(lambda: "cell 3 of 4" in login(log("nb")), 90)
    assert run("--stop", "nb").returncode == 0
    assert outputs(login, json.loads(begun.stdout)["notebook"]) == [["begin\n"], ["42"], [], []]


def test_off_leaves_the_box_on_while_a_job_runs(box: boxes.Box, run: Run) -> None:
    run("train", "--", "sleep", "1000")
    off = subprocess.run(
        [DEEPRIG, "off", "--inventory", str(box.inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = json.loads(off.stdout)
    assert off.returncode == 1
    assert (said["work"], said["off"]) == (["job train of ai"], False)


def test_what_was_typed_is_in_no_list_of_processes(run: Run, login: Login) -> None:
    run("secret", "--", "TOKEN=s3cret-$((40 + 2)) sleep 1000")
    assert "sleep 1000" in login("ps -ef")  # the control
    assert "s3cret" not in login("ps -ef")
    folder = "/home/ai/.local/state/deeprig/jobs/secret"
    assert login(f"sudo stat -c %a {folder} {folder}/command {folder}/log").split() == [
        "700", "600", "600",
    ]  # fmt: skip


def test_a_power_cut_is_told_and_the_next_job_begins(box: boxes.Box, run: Run, job: Any) -> None:
    run("train", "--", "sleep", "1000")
    boxes.cut(box.name)
    assert job("train")["state"] == "lost"
    followed = run("--follow", "train")
    assert followed.returncode == 1
    assert "train on t-jobs" in followed.stdout and "was cut off" in followed.stdout
    assert run("train", "--", "sleep", "1000").returncode == 0


def test_a_job_begins_where_the_users_systemd_was_killed(run: Run, login: Login, job: Any) -> None:
    """As by a `kill` of all that is one's own; its user cannot start it and is told who can."""
    run("train", "--", "sleep", "1000")
    login("sudo -u ai sh -c 'kill -KILL -1'", check=False)
    dead = 'test "$(systemctl is-active user@$(id -u ai))" = failed && echo dead'
    wait_for(lambda: login(dead, check=False) == "dead\n", 20)
    assert job("train")["state"] == "lost"
    assert login(dead) == "dead\n"  # a list begins nothing
    asked = json.dumps({"name": "own", "command": ["true"], "gpu": ["none"], "environment": None})
    said = login(f"cd /; echo {shlex.quote(asked)} | sudo -u ai {BOX} job start 2>&1 || true")
    assert re.fullmatch(r"Your systemd does not run.* systemctl start user@\d+\.service\n", said)

    begun = run("again", "--", "sleep", "1000")
    assert (begun.returncode, begun.stderr) == (0, "")
    assert job("again")["state"] == "running"


def test_without_a_deploy_it_says_so(run: Run, login: Login) -> None:
    login("sudo mv /usr/local/lib/deeprig/current /usr/local/lib/deeprig/away")
    done = run("any", "--", "true")
    login("sudo mv -T /usr/local/lib/deeprig/away /usr/local/lib/deeprig/current")
    assert done.returncode == 2
    assert "has nothing that runs jobs yet; deploy there first." in done.stderr
