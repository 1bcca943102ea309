"""The rest of the lane `trust`: every thing in every place, races of a minute, endless boxes.

Each test is bounded in time, and ends with the same verb unattacked.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deeprig.operations import footprint
from lab import boxes
from tasks import notebook
from tests.lab.attacked import (
    SECRET,
    VICTIM,
    different,
    nothing_heard,
    one_sentence,
    opened_or_refused,
    verified,
    with_wake,
    witness,
)
from tests.lab.attackers import LONG, PLACE, PYTHON, Accounts, Attack, endless, haunted, instead
from tests.lab.conftest import run_on, variant
from tests.lab.measured import Said, deeprig, deploy

pytest_plugins = ["tests.lab.trust_fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("first", "nothing_of_roots")]

RACE_SECONDS = 60
FOLDER = "/etc/trust-folder"
# A file's name has no slash in it: a command in one first goes to the top.
UP = "cd ..; cd ..; cd ..; cd ..; id >>TRUST_ROOT_RAN_IT"
ODD = f"'a\nb'\\''c\"d $({UP}) `{UP}` \033]0;PWN\007\033[2J'"
TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# What is put in a place $p, by a shell of the account whose place it is.
THINGS = {
    "link": f'ln -s {VICTIM} "$p"',
    "link-to-folder": f'ln -s {FOLDER} "$p"',
    "link-to-itself": 'ln -s "$p" "$p"',
    "fifo": 'mkfifo "$p"',
    "zero": 'ln -s /dev/zero "$p"',
    "gigabyte": 'truncate -s 1G "$p"',
    "socket": 'cd "${p%/*}" && python3 -I -c "import socket as s, sys; '
    's.socket(s.AF_UNIX).bind(sys.argv[1])" "${p##*/}"',
    "folder": 'mkdir "$p"',
    "closed-folder": 'mkdir -m 0 "$p"',
    "file": 'printf "x\\033]0;PWN\\007y\\n" >"$p"',
    "link-to-odd-name": f'ln -s "/"{ODD} "$p"',
    "folder-of-odd-names": f'mkdir "$p"; mkdir "$p"/{ODD}; touch "$p"/.{ODD}',
}


class Place(NamedTuple):
    """Somebody's path that root, or this computer, meets; the verbs that do, beside a deploy."""

    path: str
    verbs: tuple[str, ...] = ()
    whose: str = "ai"


PLACES = {
    "keys": Place("$HOME/.ssh/authorized_keys", ("plan", "verify")),
    "ssh": Place("$HOME/.ssh"),
    "token": Place("$HOME/.config/deeprig/notebook-token", ("tunnel",)),
    "config": Place("$HOME/.config/deeprig", ("tunnel",)),
    "started": Place("/run/user/$UID/deeprig-notebook.started"),
    "envs": Place("$HOME/envs"),
    "environment": Place("$HOME/envs/base", ("verify",)),
    "python": Place("$HOME/envs/base/bin/python"),
    "mark": Place("$HOME/envs/base/.deeprig"),
    "kernel": Place("$HOME/.local/share/jupyter/kernels/deeprig-base/kernel.json"),
    "runs": Place("$HOME/runs", ("verify",)),
    "notebooks": Place("$HOME/notebooks"),
    "huggingface": Place("$HOME/.cache/huggingface"),
    "cache": Place("/mnt/data-disk/ai/cache/uv"),
    "state": Place("$HOME/.local/state/deeprig", ("list",)),
    "jobs": Place("$HOME/.local/state/deeprig/jobs", ("list", "off")),
    "job": Place("$HOME/.local/state/deeprig/jobs/trust", ("list", "follow", "off")),
    "record": Place("$HOME/.local/state/deeprig/jobs/trust/job.json", ("list", "follow")),
    "end": Place("$HOME/.local/state/deeprig/jobs/trust/end.json", ("list", "follow")),
    "log": Place("$HOME/.local/state/deeprig/jobs/trust/log", ("list", "follow")),
    "unit": Place("$HOME/.config/systemd/user/deeprig-notebook.service"),
}


@pytest.fixture(autouse=True)
def folder_of_roots(accounts: Accounts) -> Iterator[None]:
    """A folder where no file may come or go, and whose owner stays root."""
    root = accounts["root"]
    root.run(f"rm -rf {FOLDER}; mkdir {FOLDER}; echo {SECRET} >{FOLDER}/kept")
    yield
    about = f"stat -c %U:%a {FOLDER}; ls -A {FOLDER}; cat {FOLDER}/kept"
    assert root.run(about).split() == ["root:755", "kept", SECRET]


@pytest.fixture(scope="module")
def job(box: boxes.Box, accounts: Accounts) -> None:
    """A job that has ended, called trust; and work of another account, so nothing powers off."""
    accounts["anna"].run("setsid -f sleep 9000 </dev/null >/dev/null 2>&1")
    begun = deeprig("run", box.inventory, box.name, "trust", "--", "echo said")
    assert begun.code == 0, begun.all


# Each place with two things, each thing in three places or more; the other pairs stand apart, for
# what becomes of a path hardly hangs on the system.
ALL_PAIRS = [(place, thing) for place in PLACES for thing in THINGS]
FEW = {(place, list(THINGS)[(2 * row + more) % len(THINGS)])
       for row, place in enumerate(PLACES) for more in (0, 1)}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "thing"),
    [
        pytest.param(*pair, marks=[] if pair in FEW else pytest.mark.every_pair)
        for pair in ALL_PAIRS
    ],
)
def test_no_thing_in_any_place_harms_or_hangs(
    box: boxes.Box, accounts: Accounts, with_key: Path, job: None, place: str, thing: str
) -> None:
    met = PLACES[place]
    account = accounts[met.whose]
    path = met.path.replace("$HOME", account.home).replace("$UID", str(account.uid))
    account.run(f"mkdir -p {path.rpartition('/')[0]}")
    with instead(account, path, f"p={path}; {THINGS[thing]}"):
        assert account.run(f"[ -e {path} ] || [ -L {path} ] && echo there").strip() == "there"
        for verb in met.verbs:
            sober(do(verb, box, with_key))
        sober(deploy(with_key))


def sober(done: Said) -> None:
    """It ended by itself, without a traceback, a secret, or what a terminal obeys."""
    assert "Traceback" not in done.all, done.all[-3000:]
    assert SECRET not in done.all and done.code in (0, 1, 2)
    assert not TERMINAL.search(done.all), repr(TERMINAL.search(done.all))


def do(verb: str, box: boxes.Box, inventory: Path) -> Said:
    """One verb of ours on the box."""
    if verb == "tunnel":
        return opened_or_refused(inventory)
    words = {
        "list": ("run", box.name, "--list"),
        "follow": ("run", box.name, "--follow", "trust"),
        "off": ("off", box.name),  # it stays on: somebody works there
    }.get(verb, (verb,))
    return deeprig(words[0], inventory, *words[1:])


def test_all_is_well_after_all_of_it(box: boxes.Box, sound: dict[str, str], with_key: Path) -> None:
    """The control of the table; `sound` is asked before or after, and nothing may differ."""
    for inventory in (with_key, box.inventory):
        assert deploy(inventory).code == 0
    assert different(verified(deeprig("verify", box.inventory, "--json")), sound) == set()


# Races of a minute.


def raced(race: Attack, verb: Callable[[], Said]) -> dict[str, Any]:
    """The verb again and again for a minute, twice at the least."""
    times, began = 0, time.monotonic()
    while times < 2 or time.monotonic() - began < RACE_SECONDS:
        assert "Traceback" not in verb().all
        times += 1
    return race.end()


def test_a_minute_of_races_for_the_keys_file_is_never_won(
    with_key: Path, accounts: Accounts
) -> None:
    ai = accounts["ai"]
    keys = f"{ai.home}/.ssh/authorized_keys"
    with instead(ai, keys, f"mkdir -p -m 700 {ai.home}/.ssh"):
        race = ai.start("swaps", keys, VICTIM, LONG)

        def verb() -> Said:
            ai.run(f"rm -f {keys}")
            return deploy(with_key)

        seen = raced(race, verb)
    assert seen["swaps"] and not seen["won"], seen
    assert deploy(with_key).code == 0  # the control


@pytest.mark.parametrize("name", [".ssh", ".config/deeprig", "envs", "runs"])
def test_a_minute_of_exchanged_folders_moves_nothing_of_roots(
    with_key: Path, accounts: Accounts, name: str
) -> None:
    ai = accounts["ai"]
    here, there = f"{ai.home}/{name}", f"{ai.home}/{name}.there"
    ai.run(f"mkdir -p {here}; rm -rf {there}; ln -s {FOLDER} {there}; cp -a {here} {here}.kept")
    try:
        race = ai.start("exchanges", here, there, LONG)
        seen = raced(race, lambda: deploy(with_key))
        assert seen["times"] > 1000 > seen["failed"], seen
    finally:
        ai.run(f"rm -rf {here} {there}; mv {here}.kept {here}")
    assert deploy(with_key).code == 0  # the control


# What runs in the work user's sessions.

# More than root may take of any answer, but no more than a box can bear.
MUCH = "head -c 64M /dev/zero | tr '\\0' y"
# Checks of what a login shell of the user's says: it says nothing then.
OF_SESSIONS = re.compile(r"login shell|shell in a login|uv keeps its cache|no library path")
# Where a login ends all that its user runs, these find nothing that runs, or are ended themselves.
OF_WHAT_RUNS = re.compile(
    r"^(notebook|idempotence): |^jobs: jobs have a service|^python_env: pip works"
    r"|^storage: (tensorboard reads|a users service|the notebook server)"
)
WITHOUT_END = {
    "sleeps": "sleep 10000",
    "ignores": "trap '' TERM HUP; for i in $(seq 10000); do sleep 1; done",
    "much": MUCH,
    "errors": f"{{ {MUCH}; }} >&2",
    "beside": f"{MUCH} & {{ {MUCH}; }} >&2 &",
    "stops": "kill -STOP $$",
    "kills": "kill -KILL -1",
    "leaves": "exec true",
}


@pytest.fixture
def over_ssh(box: boxes.Box, tmp_path: Path) -> Path:
    """The inventory with pyinfra's own connection."""
    return variant(box, tmp_path / "ssh.py", ("rig=Rig(", 'rig=Rig(connection="ssh", '))


def test_startup_files_change_nothing_over_plain_ssh(
    box: boxes.Box, over_ssh: Path, accounts: Accounts, sound: dict[str, str]
) -> None:
    ai = accounts["ai"]
    assert deploy(over_ssh).code == 0  # the box's record says which connection it is
    with haunted(ai), witness(accounts["root"]) as seen:
        found = verified(deeprig("verify", over_ssh, "--json"))
    assert different(found, sound) == set()
    nothing_heard(seen, "inherits.py")
    with haunted(ai), witness(accounts["root"]) as seen:
        assert deploy(over_ssh).code == 0
    nothing_heard(seen, "python-env")
    assert deploy(box.inventory).code == 0  # the control


@pytest.mark.parametrize("line", WITHOUT_END.values(), ids=WITHOUT_END)
def test_a_startup_file_without_an_end_holds_nothing_up_for_long(
    box: boxes.Box, accounts: Accounts, sound: dict[str, str], line: str
) -> None:
    ai = accounts["ai"]
    profile = f"{ai.home}/.profile"
    note = f"date >>{ai.folder}/ran; "
    with instead(ai, profile, f"cat >{profile} <<'END'\n{note}{line}\nEND\n"):
        done = deeprig("verify", box.inventory, "--json")
        ran = ai.read("ran")
        again = deploy(box.inventory)
        # A notebook whose own shell ends all of its user's processes does not run; that is said.
        assert again.code == 0 or line == WITHOUT_END["kills"], again.all[-3000:]
        sober(again)
    assert deploy(box.inventory).code == 0  # the control
    ai.run("pkill -KILL -x sleep", check=False)
    assert ran
    others = {name for name in different(verified(done), sound) if not OF_SESSIONS.search(name)}
    if line == WITHOUT_END["kills"]:
        assert "notebook: jupyter answers on its port" in others
        others = {name for name in others if not OF_WHAT_RUNS.search(name)}
    assert others == set()


def test_room_that_is_held_runs_out_for_nobody_else(
    box: boxes.Box, accounts: Accounts, sound: dict[str, str]
) -> None:
    """A file that root removed lives on while somebody has it open; /run is a part of memory."""
    ai, root = accounts["ai"], accounts["root"]
    profile = f"{ai.home}/.profile"
    line = f"{PYTHON} {PLACE}/holds.py {ai.folder} profile 60"
    room = "df -B1 --output=used /run | tail -n 1"
    before = int(root.run(room))
    with instead(ai, profile, f"echo '{line}' >{profile}"):
        for _ in range(3):
            found = verified(deeprig("verify", box.inventory, "--json"))
        held = int(root.run(room)) - before
        log = ai.log("holds")
    ai.run("pkill -KILL -f 'trust/[h]olds.py'", check=False)
    assert len(log) > 3
    assert held < 16 * 2**20, f"{held} bytes of /run are held"
    assert different(found, sound) == set()


# A box that does not stop to answer.


# The slow one lasts longer than a verb is given, for each of its questions.
SLOW = "for i in $(seq 20); do printf x; sleep 60; done"
ENDLESS = {
    "zeros": "head -c 1500M /dev/zero",
    "lines": "yes | head -c 1500M",
    "errors": "yes | head -c 1500M >&2",
    "silent": "sleep 1200",
    "closed": "exec true",
}
ASKED = ("plan", "verify", "off", "list", "follow", "deploy", "tunnel")


@pytest.fixture(scope="module")
def usual(box: boxes.Box, job: None) -> dict[str, float]:
    """The control: how large each verb is where the box answers as it should."""
    return {verb: asked(verb, box, box.inventory).peak for verb in ASKED}


def asked(verb: str, box: boxes.Box, inventory: Path) -> Said:
    if verb == "deploy":
        return deploy(inventory)
    return do(verb, box, inventory)


@pytest.mark.parametrize("verb", ASKED)
@pytest.mark.parametrize("program", [
    *ENDLESS.values(), pytest.param(SLOW, marks=pytest.mark.minutes)
], ids=[*ENDLESS, "slow"])  # fmt: skip
def test_no_box_takes_memory_or_time_without_end(
    box: boxes.Box, accounts: Accounts, usual: dict[str, float], tmp_path: Path,
    program: str, verb: str,
) -> None:  # fmt: skip
    with endless(box, accounts["root"], tmp_path, program) as inventory:
        done = asked(verb, box, inventory)
    accounts["root"].run("pkill -KILL -u deeprig -x 'head|sleep'", check=False)
    assert done.peak - usual[verb] < 100, (done.peak, usual[verb])
    assert "Traceback" not in done.all and done.code in (1, 2), done.all[-2000:]
    if verb not in ("deploy", "verify", "plan"):  # these have a page of their own
        one_sentence(done, 1, 2)


# A box that lies.

LIES = (
    "\033]0;PWN\007\033[2J",
    "$(id >>/tmp/pwned-here)",
    "x|y|z=1 2 3",
    "-1",
    "\u202e",
    "9" * 400,
)
TOLD = ("uname", "stat", "ip", "df", "findmnt", "lsblk", "dpkg-query", "systemctl", "getent",
        "systemd-detect-virt", "sed", "find", "journalctl", "id", "ss")  # fmt: skip


@pytest.mark.parametrize("tool", TOLD)
def test_a_tool_that_lies_is_told_in_words_that_a_terminal_can_take(
    box: boxes.Box, accounts: Accounts, tmp_path: Path, job: None, tool: str
) -> None:
    root, file = accounts["root"], with_wake(box, tmp_path)
    lines = "".join(f"printf '%b\\n' '{lie}'\n" for lie in LIES)
    path = f"/usr/local/sbin/{tool}"
    real = root.run(f"command -v {tool}").strip()
    script = (
        f'#!/bin/sh\n[ -e /run/trust-lies ] || exec {real} "$@"\n'
        f"echo told >>{root.folder}/told\n{lines}"
    )
    root.write(f"{root.folder}/tool", script)
    root.run(f"install -m 755 {root.folder}/tool {path}; touch /run/trust-lies")
    try:
        for verb in ("plan", "off", "verify", "list"):
            sober(do(verb, box, file))
    finally:
        root.run(f"/usr/bin/rm -f {path} /run/trust-lies")
    assert root.read("told"), f"nobody asked {tool}"
    assert not Path("/tmp/pwned-here").exists()


# Other accounts.


def test_a_folder_of_tmux_that_another_account_made_stops_no_notebook(
    box: boxes.Box, accounts: Accounts
) -> None:
    ai, anna, root = accounts["ai"], accounts["anna"], accounts["root"]
    place = f"/tmp/tmux-{ai.uid}"
    systemctl = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user"
    ai.run(f"{systemctl} stop deeprig-notebook.service deeprig-jobs.service; rm -rf {place}")
    anna.run(f"mkdir -m 700 {place}")
    try:
        assert deploy(box.inventory).code == 0
        assert ai.run("tmux -L deeprig list-windows -F '#W'").split()
        assert deeprig("run", box.inventory, box.name, "beside", "--", "true").code == 0
    finally:
        root.run(f"rm -rf {place}")
    assert deploy(box.inventory).code == 0  # the control


def test_a_unit_of_the_same_name_is_not_ours(box: boxes.Box, accounts: Accounts) -> None:
    ai, anna, root = accounts["ai"], accounts["anna"], accounts["root"]
    token = ai.run("cat ~/.config/deeprig/notebook-token").strip()
    root.run("loginctl enable-linger anna; sleep 2")
    user = "XDG_RUNTIME_DIR=/run/user/$(id -u)"
    squats = f"/usr/bin/{PYTHON} {PLACE}/squats.py {anna.folder} 8888 {LONG}"
    anna.run("mkdir -p ~/.config/systemd/user")
    unit = f"{anna.home}/.config/systemd/user/deeprig-notebook.service"
    anna.write(unit, f"[Service]\nExecStart={squats}\n")
    anna.run(f"{user} systemctl --user daemon-reload")
    anna.run(f"{user} systemctl --user start deeprig-notebook.service")
    ai.run(f"{user} systemctl --user stop deeprig-notebook.service")
    squat = Attack(anna, "squats")
    pid = squat.wait("had")["pid"]
    assert "/deeprig-notebook.service" in anna.run(f"cat /proc/{pid}/cgroup")
    try:
        for done in (
            deploy(box.inventory),
            deeprig("verify", box.inventory),
            opened_or_refused(box.inventory),
        ):
            sober(done)
        assert token not in json.dumps(squat.said())
    finally:
        squat.end()
        root.run("loginctl disable-linger anna")
        ai.run(f"{user} systemctl --user start deeprig-notebook.service")
    assert deploy(box.inventory).code == 0  # the control


def test_taking_the_notebook_out_removes_nothing_behind_a_link(
    box: boxes.Box, accounts: Accounts
) -> None:
    ai, root = accounts["ai"], accounts["root"]
    config = f"{ai.home}/.config/deeprig"
    root.run(f"mkdir {FOLDER}/notebook-token; touch {FOLDER}/notebook-token/kept")
    with instead(ai, config, f"ln -s {FOLDER} {config}"):
        report = run_on(box, lambda rig: footprint.take_out("notebook", notebook.FOOTPRINT))
        assert report.steps
        assert root.run(f"ls {FOLDER}/notebook-token").strip() == "kept"
    root.run(f"rm -r {FOLDER}/notebook-token")
    assert deploy(box.inventory).code == 0  # the control: it comes back


@pytest.mark.parametrize("make", ["mkfifo", "ln -s /dev/zero"], ids=["fifo", "zero"])
def test_asking_whether_python_may_go_waits_for_no_file_of_a_users(
    box: boxes.Box, accounts: Accounts, tmp_path: Path, make: str
) -> None:
    """The Pythons that uv fetched stay while an environment is made of one."""
    ai, root = accounts["ai"], accounts["root"]
    folder = f"{ai.home}/envs/trust"
    file = variant(
        box, tmp_path / "absent.py",
        ('python=Python(python="system"),', 'absent={"python", "notebook"}, python=None,'),
        ('notebook=Notebook(user="ai"),', "notebook=None,"),
    )  # fmt: skip
    root.run("mkdir -p /opt/deeprig/python")
    ai.run(f"mkdir -p {folder}; {make} {folder}/pyvenv.cfg")
    try:
        sober(deeprig("plan", file))
        assert root.run("pgrep -af '[p]yvenv.cfg'", check=False) == ""
    finally:
        ai.run(f"rm -rf {folder}")
        root.run("pkill -KILL -f '[p]yvenv.cfg'", check=False)
        root.run("rmdir /opt/deeprig/python")
    sober(deeprig("plan", file))  # the control
