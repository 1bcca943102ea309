"""What is killed comes back, what runs is left alone, what was put off is done by the next run."""

import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig import inventories
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from deeprig.ssh import connection
from deeprig_cli.verify import runner
from lab import boxes, container
from tasks import base, network_access, notebook, python_env
from tests.lab.conftest import host_data, run_on, shell, wait_for

pytestmark = pytest.mark.lab

Login = Callable[..., str]
BACK_SECONDS = 10
SERVER = "sudo /usr/local/lib/deeprig/current/deeprig-box notebook-server"
MEMORY = Path("/sys/fs/cgroup/memory")
JUPYTER, TENSORBOARD = "bin/jupyter-lab", "bin/tensorboard"
SERVE = "Notebook server | Have both servers run and answer"

# Run by the tools' Python as the work user: new | list | end | run ID CODE | leave ID CODE
KERNEL = """
import json, pathlib, sys, uuid
import requests, websocket
verb, rest = sys.argv[1], sys.argv[2:]
token = (pathlib.Path.home() / ".config/deeprig/notebook-token").read_text().strip()
conf = pathlib.Path("/etc/deeprig/notebook.conf").read_text().splitlines()
port = [line.partition("=")[2] for line in conf if line.startswith("port=")][0]
api, login = f"127.0.0.1:{port}/api/kernels", {"Authorization": f"token {token}"}
if verb == "new":
    made = requests.post(f"http://{api}", json={"name": "deeprig-base"}, headers=login)
    print(made.json()["id"])
elif verb == "list":
    for kernel in requests.get(f"http://{api}", headers=login).json():
        print(kernel["id"], kernel["execution_state"])
elif verb == "end":
    for kernel in requests.get(f"http://{api}", headers=login).json():
        requests.delete(f"http://{api}/{kernel['id']}", headers=login)
else:
    address = f"ws://{api}/{rest[0]}/channels"
    channel = websocket.create_connection(address, header=login, timeout=60)
    me = uuid.uuid4().hex
    content = {"code": rest[1], "silent": False, "store_history": False, "allow_stdin": False}
    header = {"msg_id": me, "msg_type": "execute_request", "version": "5.3", "username": "",
              "session": uuid.uuid4().hex, "date": ""}
    channel.send(json.dumps({"header": header, "parent_header": {}, "metadata": {},
                             "content": content, "channel": "shell", "buffers": []}))
    while True:
        message = json.loads(channel.recv())
        kind, said = message["msg_type"], message["content"]
        if kind == "status" and (said["execution_state"] in ("restarting", "dead")):
            print(said["execution_state"])
            break
        if message["parent_header"].get("msg_id") != me:
            continue
        if kind == "status" and said["execution_state"] == "busy" and verb == "leave":
            break
        if kind in ("stream", "error"):
            print(said.get("text") or said["evalue"])
        if kind == "status" and said["execution_state"] == "idle":
            break  # the reply itself may overtake what was printed
"""


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


def with_notebook(**settings: object) -> Callable[[Rig], None]:
    """The same box with other settings of the notebook."""

    def changed(rig: Rig) -> None:
        assert rig.notebook
        notebook.serve(settings=replace(rig.notebook, **settings))

    return changed


@pytest.fixture(scope="module", autouse=True)
def served(box: boxes.Box) -> None:
    report = run_on(box, build)
    assert report.error is None, report.steps


@pytest.fixture
def kernel(login: Login) -> Callable[..., str]:
    def call(*words: str) -> str:
        argv = ["sudo", "-u", "ai", "/opt/deeprig/notebook/bin/python", "-c", KERNEL, *words]
        return login(f"cd /; {shlex.join(argv)}").strip()

    return call


@pytest.fixture(autouse=True)
def mended(box: boxes.Box, kernel: Callable[..., str]) -> Iterator[None]:
    """Each test starts from the box's own settings, and nothing computes there."""
    yield
    report = run_on(box, with_notebook(restart_busy=True))
    assert report.error is None, report.steps
    kernel("end")


def pid(login: Login, command: str) -> str:
    return login(f"pgrep -o -u ai -f {shlex.quote(command)}", check=False).strip()


def stands(login: Login) -> bool:
    return login(f"{SERVER} state", check=False).strip() == "ok"


def last(report: Report) -> tuple[str, str]:
    return report.steps[-1].name, report.steps[-1].status


def test_a_second_run_changes_nothing(box: boxes.Box) -> None:
    assert run_on(box, build).changes == []


@pytest.mark.parametrize(
    ("killed", "other"),
    [
        (JUPYTER, TENSORBOARD),
        (TENSORBOARD, JUPYTER),
        ("^/bin/sh.*notebook-window jupyter", TENSORBOARD),
        ("^/bin/sh.*notebook-window tensorboard", JUPYTER),
    ],
)
def test_one_comes_back_when_killed_and_the_other_stays(
    login: Login, killed: str, other: str
) -> None:
    before, stays = pid(login, killed), pid(login, other)
    look = f"pgrep -o -u ai -f {shlex.quote(killed)}"
    nanoseconds = int(
        login(  # in one login, for each costs a part of the seconds that are counted
            f"started=$(date +%s%N); sudo kill -9 {before}; "
            f'until now=$({look}) && [ "$now" != {before} ] && [ "$({SERVER} state)" = ok ]; '
            "do sleep 0.2; done; echo $(( $(date +%s%N) - started ))"
        )
    )
    print(f"{killed} answered again after {nanoseconds / 1e9:.1f} s")
    assert nanoseconds / 1e9 <= BACK_SECONDS
    assert pid(login, other) == stays


def test_the_session_comes_back_and_the_users_own_is_not_touched(login: Login) -> None:
    login("sudo -u ai tmux new-session -d -s mine 'sleep 1000'")
    before = pid(login, JUPYTER)
    login("sudo -u ai tmux -L deeprig kill-server")
    seconds = wait_for(lambda: pid(login, JUPYTER) not in ("", before) and stands(login), 40)
    print(f"the session was back after {seconds:.1f} s")
    windows = login("sudo -u ai tmux -L deeprig list-windows -F '#W'").split()
    assert windows == ["jupyter", "tensorboard"]
    login("sudo -u ai tmux has-session -t mine")
    login("sudo -u ai tmux kill-session -t mine")


def test_a_systemd_that_was_killed_comes_back_with_the_next_run(
    box: boxes.Box, login: Login
) -> None:
    """As after a `kill` of all that is one's own: the user's systemd goes with the rest."""
    login("sudo -u ai sh -c 'kill -KILL -1'", check=False)
    asked = "systemctl is-active user@$(id -u ai)"
    wait_for(lambda: login(asked, check=False).strip() == "failed", 20)
    seen = runner.run(inventories.load(box.inventory), "live", lambda _: None, ["notebook"])
    [dead] = [check for check in seen if check.check == "the systemd of the work user runs"]
    assert (dead.outcome, dead.remedy) == ("failed", runner.USUAL_REMEDY)
    assert re.match(r"user@\d+\.service is failed", dead.reason)

    report = run_on(box, build)
    assert report.error is None, report.steps
    assert "Notebook server | Let ai's services run without a login" in report.changes
    assert stands(login)
    assert run_on(box, build).changes == []


def test_the_server_starts_again_by_hand_where_the_systemd_was_killed(login: Login) -> None:
    """As `notebook-server start` is for; its user's own restart finds nobody to ask."""
    login("sudo -u ai sh -c 'kill -KILL -1'", check=False)
    wait_for(lambda: not stands(login), 20)
    login(f"{SERVER} start")
    assert stands(login)


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="no memory cgroup of version 1 here")
def test_one_kernel_out_of_memory_takes_nothing_along(
    box: boxes.Box, login: Login, kernel: Callable[..., str]
) -> None:
    greedy, modest = kernel("new"), kernel("new")
    kernel("run", modest, "x = 41")
    number = kernel("run", greedy, "import os; print(os.getpid())")
    servers = pid(login, JUPYTER), pid(login, TENSORBOARD)
    cage = MEMORY / f"deeprig-test-{box.name}"
    cage.mkdir()
    try:
        (cage / "memory.limit_in_bytes").write_text(str(200 * 2**20))
        (cage / "cgroup.procs").write_text(str(container.host_pid(box.name, int(number))))
        assert kernel("run", greedy, "x = bytearray(600 * 2**20)") == "restarting"
        assert "oom_kill 1" in (cage / "memory.oom_control").read_text()
    finally:
        wait_for(lambda: not (cage / "cgroup.procs").read_text(), 20)
        cage.rmdir()
    assert kernel("run", modest, "print(x + 1)") == "42"
    assert (pid(login, JUPYTER), pid(login, TENSORBOARD)) == servers
    wait_for(lambda: kernel("run", greedy, "print(6 * 7)") == "42", 20)
    kernel("end")


def test_a_busy_kernel_is_not_restarted_and_the_next_run_makes_up_for_it(
    box: boxes.Box, login: Login, kernel: Callable[..., str]
) -> None:
    busy = kernel("new")
    kernel("leave", busy, "import time; time.sleep(600)")
    before = pid(login, JUPYTER)
    other = with_notebook(tensorboard_port=6007)

    report = run_on(box, other)
    assert report.error is None
    assert last(report) == (SERVE, "unchanged")
    assert kernel("list") == f"{busy} busy"
    assert pid(login, JUPYTER) == before
    assert run_on(box, other, dry=True).changes == [SERVE]  # it is owed, and the plan says so

    kernel("end")
    report = run_on(box, other)
    assert report.changes == [SERVE]
    assert pid(login, JUPYTER) != before
    assert login("ss -Hltn 'sport = :6007'") != ""
    assert run_on(box, other).changes == []


def test_a_terminal_in_use_counts_as_busy(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai tmux -L deeprig new-window -d -n train 'sleep 1000'")
    other = with_notebook(tensorboard_port=6007)
    assert last(run_on(box, other)) == (SERVE, "unchanged")
    assert "sleep in a terminal" in login(f"{SERVER} state")
    login("sudo -u ai tmux -L deeprig kill-window -t train")
    assert run_on(box, other).changes == [SERVE]


def test_restart_busy_goes_ahead(box: boxes.Box, login: Login, kernel: Callable[..., str]) -> None:
    kernel("leave", kernel("new"), "import time; time.sleep(600)")
    report = run_on(box, with_notebook(tensorboard_port=6007, restart_busy=True))
    assert last(report) == (SERVE, "changed")
    assert kernel("list") == ""


def test_a_taken_port_is_an_error_that_names_who_has_it(box: boxes.Box, login: Login) -> None:
    login(
        "sudo systemd-run --quiet --unit=squatter python3 -m http.server 8899 --bind 127.0.0.1; "
        "until ss -Hltn 'sport = :8899' | grep -q .; do sleep 0.2; done"
    )
    report = run_on(box, with_notebook(port=8899))
    squatter = login("systemctl show squatter --property=MainPID --value").strip()
    assert report.error
    said = "\n".join(step.output for step in report.steps)
    assert f"Port 8899 is taken by python3 (process {squatter}) of root" in said
    assert "Notebook(port=...)" in said
    login("sudo systemctl stop squatter")
    assert run_on(box, with_notebook(port=8899)).error is None  # the control: now it is free


def test_they_survive_a_logout_where_user_processes_are_killed(
    box: boxes.Box, login: Login
) -> None:
    public = box.key.with_suffix(".pub").read_text().strip()
    login(
        "sudo mkdir -p /etc/systemd/logind.conf.d; sudo sh -c 'echo \"[Login]\nKillUserProcesses="
        "yes\" > /etc/systemd/logind.conf.d/kill.conf'; sudo systemctl restart systemd-logind; "
        f"sudo -u ai sh -c 'mkdir -p -m 700 ~/.ssh; echo {public} > ~/.ssh/authorized_keys'"
    )
    before = pid(login, JUPYTER), pid(login, TENSORBOARD)
    session = connection.connect(host_data(box) | {"ssh_user": "ai"})
    shell(session, "tmux new-session -d -s plain 'sleep 1000'")
    session.close()
    wait_for(lambda: pid(login, "^sleep 1000") == "", 20)  # the control: plain tmux is killed
    assert (pid(login, JUPYTER), pid(login, TENSORBOARD)) == before
    assert stands(login)
    login("sudo rm /etc/systemd/logind.conf.d/kill.conf; sudo systemctl restart systemd-logind")


def test_both_are_there_after_a_reboot(box: boxes.Box, login: Login) -> None:
    boxes.reboot(box.name)
    seconds = wait_for(lambda: stands(login), 60)
    print(f"both answered {seconds:.1f} s after the first login")
    assert run_on(box, build).changes == []


def test_what_comes_up_just_now_is_not_called_broken(box: boxes.Box, login: Login) -> None:
    """As in the first minute after a boot of a slow box; a run then would have restarted them."""
    again = "sudo systemctl --user -M ai@ restart deeprig-notebook"
    assert login(f"{again}; sudo {notebook.SERVER} state").strip() == "ok"
    login(again)
    assert run_on(box, build).changes == []


def test_a_port_that_a_stranger_has_is_not_waited_for(box: boxes.Box, login: Login) -> None:
    """A session that was just started has two minutes; the port it never gets."""
    unit = "sudo systemctl --user -M ai@ {} deeprig-notebook"
    squat = "sudo systemd-run --quiet --unit=squat python3 -m http.server 8888 --bind 127.0.0.1"
    try:
        login(f"{unit.format('stop')}; {squat}; sleep 1; {unit.format('start')}")
        asked = time.monotonic()
        said = login(f"{SERVER} state")
        assert "JupyterLab does not answer on port 8888" in said
        assert time.monotonic() - asked < 30
    finally:
        login(f"sudo systemctl stop squat; {unit.format('restart')}")
    assert run_on(box, build).error is None
