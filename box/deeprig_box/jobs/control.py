"""What is done with a job, as its own user: begun, listed, followed, stopped."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from deeprig_box.jobs import command, gpus
from deeprig_box.jobs.cli import must
from deeprig_box.jobs.records import FOLDER, NAME, Job, every, ours
from deeprig_box.lib import bounded, files, place

TMUX = ["tmux", "-L", "deeprig-jobs"]
SESSION = "jobs"
BEGIN_SECONDS = 75  # the window gives up after 60
# A command that cannot be found has failed by then, and that is worth saying at once.
FIRST_LOOK_SECONDS = 1.5
STOP_SECONDS = 40  # the scope itself gives 20 before it kills
TAIL_BYTES = 1_000_000
# What is asked for ends by then: a FIFO in the place of a job's file never answers.
LIMITS = {"start": 90, "list": 60, "stop": 90}


def start(asked: dict[str, Any]) -> None:
    job = Job(asked["name"])
    if not NAME.fullmatch(job.name):
        sys.exit(f"{job.name!r} is no name for a job; take letters, digits, - and _, at most 40.")
    unit = f"user@{os.getuid()}.service"
    if bounded.run(["systemctl", "is-active", "--quiet", unit]).code:
        sys.exit(f"Your systemd does not run, which holds jobs; as root: systemctl start {unit}")
    with files.alone(FOLDER / ".lock"):  # two at once would both find the same card idle
        if job.exists and job.runs:
            sys.exit(f"A job {job.name} runs there already; stop it first, or take another name.")
        begin(job, asked)
    wait(lambda: job.state() != "starting", BEGIN_SECONDS)
    if job.state() == "starting":
        sys.exit(f"The window of {job.name} does not open; see: systemctl --user status "
                 "deeprig-jobs")  # fmt: skip
    wait(lambda: not job.runs, FIRST_LOOK_SECONDS)
    print(json.dumps(job.to_json()))


def begin(job: Job, asked: dict[str, Any]) -> None:
    """Its folder, then its window."""
    taken = {
        card["uuid"]: other.name
        for other in every() if other.runs
        for card in other.read("job.json")["gpus"]
    }  # fmt: skip
    cards = gpus.choose(asked["gpu"], taken)
    environment = command.environment(asked["environment"])
    notebook = command.notebook(job, asked["notebook"], asked["command"])
    job.begin({
        "command": shlex.join(asked["command"]) if asked["command"][1:] else asked["command"][0],
        "gpus": [{"index": c.number, "uuid": c.uuid, "name": c.name} for c in cards],
        "environment": environment,
        "notebook": notebook and str(notebook.result),
    })  # fmt: skip
    # Where cards are there and none is given, it must not take one either.
    visible = ",".join(c.uuid for c in cards) if cards or asked["gpu"] == [gpus.NONE] else None
    if notebook and notebook.text is not None:
        job.write("source.ipynb", notebook.text)
    job.write("command", command.script(job, asked["command"], visible, notebook))
    open_window(job)


def open_window(job: Job) -> None:
    for verb in (["daemon-reload"], ["start", "deeprig-jobs.service"]):
        must(["systemctl", "--user", *verb])
    line = f"exec {shlex.join(place.command('job-window', job.name))}"
    question = [*TMUX, "has-session", "-t", f"={SESSION}"]
    session = bounded.run(question, english=False)
    how = ["new-window", "-d", "-t", f"={SESSION}:"] if session.code == 0 else [
        "new-session", "-d", "-s", SESSION
    ]  # fmt: skip
    must([*TMUX, *how, "-n", job.name, line])


def follow(job: Job, position: int) -> None:
    """What the log has from there on, and what comes, until the job has ended."""
    log = job.log.open("rb")
    size = os.fstat(log.fileno()).st_size
    if not 0 <= position <= size:
        position = beginning(log, size)
    log.seek(position)
    print(f"from {position}", flush=True)
    while True:
        runs = job.runs  # asked first, so that nothing is missed of what came before its end
        if data := log.read():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif job.log.stat().st_ino != os.fstat(log.fileno()).st_ino:
            log = job.log.open("rb")
        elif not runs:
            return
        else:
            time.sleep(0.2)


def beginning(log: BinaryIO, size: int) -> int:
    """Where to begin in a long log: at a line's beginning, not too far from its end."""
    if size <= TAIL_BYTES:
        return 0
    log.seek(size - TAIL_BYTES)
    return size - TAIL_BYTES + len(log.readline())


def stop(job: Job) -> None:
    if not job.runs:
        sys.exit(f"{job.name} does not run; it is {job.state()}.")
    job.write("stopping.json", {"at": time.time()})
    must(["systemctl", "--user", "stop", job.unit])
    wait(lambda: not job.runs, STOP_SECONDS)
    print(json.dumps(job.to_json()))


def wait(what: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.1)


def known(name: str) -> Job:
    job = Job(name)
    if not NAME.fullmatch(name) or not job.exists:
        have = ", ".join(job.name for job in every()) or "none"
        sys.exit(f"There is no job {name}; there are: {have}.")
    return job


def act() -> None:
    signal.alarm(LIMITS.get(sys.argv[1] if sys.argv[1:] else "", 0))
    ours()
    match sys.argv[1:]:
        case ["start"]:
            start(json.load(sys.stdin))
        case ["list"]:
            print(json.dumps([job.to_json() for job in every()]))
        case ["follow", name, *position]:
            follow(known(name), int(position[0]) if position else -1)
        case ["stop", name]:
            stop(known(name))
        case _:
            sys.exit("job takes one of: start, list, follow NAME [N], stop NAME.")
