"""Nobody on the box becomes root, and nothing of a box reaches this computer: shown by attacks.

Every attack says in a log of its own that it ran, and has a control: the same verb, unattacked.
What takes long, and the table of places and things, is in test_trust_long.py.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deeprig.facts import wake_memory
from deeprig.facts.wake_memory import WakeTarget
from lab import boxes
from tests.lab import tunnels
from tests.lab.attacked import (
    SECRET,
    VICTIM,
    First,
    changes,
    different,
    nothing_heard,
    one_sentence,
    opened_or_refused,
    plain,
    verified,
    with_wake,
    witness,
)
from tests.lab.attackers import LONG, PLACE, Account, Accounts, endless, haunted, instead
from tests.lab.conftest import variant, wait_for
from tests.lab.measured import Said, deeprig, deploy

pytest_plugins = ["tests.lab.trust_fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("first", "nothing_of_roots")]

STRANGE_TOKENS = {
    "link": f"ln -s {VICTIM} TOKEN",
    "fifo": "mkfifo TOKEN",
    "escapes": "printf '\\033]0;PWN\\007\\033[2Jabcdef\\n' >TOKEN",
}
TOKEN = "~/.config/deeprig/notebook-token"


# Who holds what root's answers travel on.


@pytest.mark.one_of_each
def test_startup_files_of_the_work_user_change_no_answer_of_verify(
    box: boxes.Box, accounts: Accounts, sound: dict[str, str]
) -> None:
    ai = accounts["ai"]
    with haunted(ai), witness(accounts["root"]) as seen:
        found = verified(deeprig("verify", box.inventory, "--json"))
    ran = {line["where"] for line in ai.log("inherits") if "held" in line}
    assert {"profile", "bashrc", "environment"} <= ran
    assert different(found, sound) == set()
    nothing_heard(seen, "inherits.py")


def test_a_deploy_hears_nothing_of_the_work_users_startup_files(
    box: boxes.Box, accounts: Accounts
) -> None:
    with haunted(accounts["ai"]), witness(accounts["root"]) as seen:
        done = deploy(box.inventory)
    assert done.code == 0, done.all
    assert changes(done) == 0
    nothing_heard(seen, "python-env")


def test_nor_does_the_first_one(first: First) -> None:
    assert not first.marked
    nothing_heard(first.seen, "python-env")


# Files that root works on by path.


@pytest.mark.one_of_each
def test_a_link_renamed_over_the_keys_file_gives_its_user_no_file_of_roots(
    with_key: Path, accounts: Accounts
) -> None:
    ai = accounts["ai"]
    keys = f"{ai.home}/.ssh/authorized_keys"
    with instead(ai, keys, f"mkdir -p -m 700 {ai.home}/.ssh"):
        race = ai.start("swaps", keys, VICTIM, LONG)
        done = deploy(with_key)
        seen = race.end()
    assert "Traceback" not in done.all
    assert seen["swaps"] and not seen["won"], seen
    assert deploy(with_key).code == 0  # the control
    assert ai.run(f"grep -c . {keys}").strip()


@pytest.mark.parametrize("thing", ["fifo"])
def test_a_strange_keys_file_holds_nothing_up(
    with_key: Path, accounts: Accounts, thing: str
) -> None:
    ai = accounts["ai"]
    keys = f"{ai.home}/.ssh/authorized_keys"
    with instead(ai, keys, f"mkdir -p {ai.home}/.ssh; mkfifo {keys}"):
        for verb in ("plan", "verify"):
            assert "Traceback" not in deeprig(verb, with_key).all
        done = deploy(with_key)
        assert "Traceback" not in done.all
        assert ai.run(f"stat -c %F {keys}").strip() == "fifo"
    assert deeprig("plan", with_key).code == 0  # the control


def test_a_strange_note_of_the_notebooks_start_holds_nothing_up(
    box: boxes.Box, accounts: Accounts
) -> None:
    ai = accounts["ai"]
    note = f"/run/user/{ai.uid}/deeprig-notebook.started"
    for make in (f"mkfifo {note}", f"ln -s /dev/zero {note}"):
        with instead(ai, note, make):
            done = deploy(box.inventory)
            assert "Traceback" not in done.all
    assert deploy(box.inventory).code == 0  # the control


def test_a_folder_of_somebodys_is_no_place_for_the_data_folder(accounts: Accounts) -> None:
    """Where its owner exchanges it meanwhile, root would own whatever it leads to to them."""
    root, ai = accounts["root"], accounts["ai"]
    root.run(
        "rm -rf /srv/old /etc/trust-folder; mkdir /etc/trust-folder; "
        "install -d -o ai -g ai /srv/old; mkdir /srv/old/data"
    )
    ai.run("mkdir /srv/old/other; ln -s /etc/trust-folder /srv/old/other/.ai.deeprig")
    race = ai.start("exchanges", "/srv/old/data", "/srv/old/other", LONG)
    script = "/usr/local/lib/deeprig/current/deeprig-box data-folder /srv/old/data ai"
    again = "rm -rf /srv/old/data/ai /srv/old/other/ai"
    said = root.run(
        f"i=0; while [ $i -lt 60 ]; do i=$((i+1)); {script} 2>&1; {again}; "
        "[ $(stat -c %u /etc/trust-folder) = 0 ] || break; done"
    )
    seen = race.end()
    assert seen["times"] > 1000
    assert root.run("stat -c %U:%a /etc/trust-folder").strip() == "root:755"
    assert said.count("\n") >= 60 and "/srv/old" in said
    root.run("rm -rf /srv/old /etc/trust-folder")
    assert (
        root.run(
            "/usr/local/lib/deeprig/current/deeprig-box data-folder --check /mnt/data-disk ai"
        ).strip()
        == "ok"
    )


# Tokens and secrets.


@pytest.mark.parametrize(
    "thing", [pytest.param("link", marks=pytest.mark.one_of_each), "fifo", "escapes"]
)
def test_a_token_that_is_none_is_shown_to_nobody(
    box: boxes.Box, accounts: Accounts, thing: str
) -> None:
    ai, root = accounts["ai"], accounts["root"]
    token = f"{ai.home}/.config/deeprig/notebook-token"
    with instead(ai, token, STRANGE_TOKENS[thing].replace("TOKEN", token)):
        said = opened_or_refused(box.inventory)
        assert SECRET not in said.all and "token=" not in said.all
        plain(said.all)
        [sentence] = [line for line in said.err.splitlines() if "token" in line]
        assert box.name in sentence
        time.sleep(1)
        assert root.run("pgrep -af '[n]otebook-token'", check=False) == ""
    with tunnels.tunnel(box.inventory, "--json") as opened:  # the control
        assert opened.answers()


@pytest.fixture
def squatted(accounts: Accounts) -> Iterator[Callable[[], str]]:
    """Another account has JupyterLab's port, and keeps what comes: the pieces so far."""
    ai, anna = accounts["ai"], accounts["anna"]
    systemctl = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user"
    squat = anna.start("squats", "8888", LONG)
    ai.run(f"{systemctl} stop deeprig-notebook.service")
    squat.wait("had")
    yield lambda: json.dumps(squat.said())
    squat.end()
    ai.run(f"{systemctl} start deeprig-notebook.service")


def test_who_waits_for_the_port_gets_no_token(
    box: boxes.Box, accounts: Accounts, squatted: Callable[[], str]
) -> None:
    ai = accounts["ai"]
    token = ai.run(f"cat {TOKEN}").strip()
    assert len(token) > 30
    off = deeprig("off", box.inventory, box.name)
    assert off.code == 1 and "stays on" in off.all  # the squatter is somebody's work
    deeprig("verify", box.inventory)
    done = deploy(box.inventory)
    assert "Traceback" not in done.all
    assert token not in squatted()


@pytest.mark.one_of_each
def test_nobody_else_reads_the_notebooks_ports(accounts: Accounts) -> None:
    ask = (
        "python3 -I -c 'import urllib.request as u; "
        'print(u.build_opener(u.ProxyHandler({})).open("http://127.0.0.1:%s", timeout=5).status)\''
        " 2>&1 | tail -n 1"
    )
    ai = accounts["ai"]
    for place in ("6006/data/environment", "8888/api"):
        # The control; the servers may only just have been started.
        wait_for(lambda asked=ask % place: ai.run(asked).strip() == "200", 120)
        assert accounts["anna"].run(ask % place).strip() != "200", place


@pytest.mark.one_of_each
def test_a_password_in_an_address_is_nobodys_to_read(
    box: boxes.Box, accounts: Accounts, tmp_path: Path
) -> None:
    secret = "CANARYpw77"
    address = f"http://canuser:{secret}@198.18.86.1:9"
    index = address.replace("http:", "https:")
    more = f'proxy="{address}", pypi_index="{index}/simple", apt_proxy="{address}", '
    file = variant(box, tmp_path / "secret.py", ("storage=", f"{more}storage="))
    done = deploy(file, "deploy.py", "-vvv")
    assert "Traceback" not in done.all
    # Refused by its name, or written where others do not read it.
    assert "Network access" in done.all or re.search(r"pyinfra error.* Rig\.\w+ ", done.all)
    try:
        look = f"grep -rlsI {secret} /etc /opt /usr/local /var /run /tmp /home /mnt 2>/dev/null"
        assert secret not in done.all
        assert accounts["anna"].run(look, check=False) == ""
        manifest = "/var/lib/deeprig/manifest.json"
        assert secret not in accounts["root"].run(f"cat {manifest}")
    finally:
        assert deploy(box.inventory).code == 0  # the control


# What is believed.


def test_a_line_that_anybody_can_log_blames_nobody(box: boxes.Box, accounts: Accounts) -> None:
    root, anna = accounts["root"], accounts["anna"]
    file = "/etc/ssh/sshd_config.d/10-deeprig.conf"
    rule = "/etc/sudoers.d/60-trust"
    root.run(f"cp {file} /root/kept; sleep 1.1; echo '#' >>{file}")
    line = "    deeprig2 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/tee " + file
    anna.run(f"logger -t sudo '{line}'")
    try:
        plan = deeprig("plan", box.inventory)
        assert f"{file} was written" in plan.out
        assert "deeprig2" not in plan.all
        root.run(f"echo 'anna ALL=NOPASSWD: ALL' >{rule}; chmod 440 {rule}")
        anna.run(f"sudo /usr/bin/touch {file}")
        assert "anna: sudo /usr/bin/touch" in deeprig("plan", box.inventory).out  # the control
    finally:
        root.run(f"rm -f {rule}; cat /root/kept >{file}")


@pytest.mark.one_of_each
def test_a_boot_is_not_confirmed_by_a_line_that_anybody_can_log(
    box: boxes.Box, accounts: Accounts
) -> None:
    """The journal is emptied of the real logins, in the login that then asks."""
    root = accounts["root"]
    ask = "python3 -c 'from deeprig_box.boot import health; print(health.logins())'"
    ask = f"cd {PLACE}/lib && {ask}"
    forged = root.run(
        "journalctl -q --rotate; journalctl -q --vacuum-time=1s 2>/dev/null; sleep 2; "
        "journalctl -q --rotate; journalctl -q --vacuum-time=1s 2>/dev/null; "
        "for t in sshd sshd-session; do "
        "runuser -u anna -- logger -t $t 'Accepted publickey for nobody from 198.18.86.9'; done; "
        f"sleep 1; journalctl -q -b -t sshd-session -o cat | grep -c Accepted; {ask}"
    )
    assert forged.split() == ["1", "False"]
    assert root.run(ask).split() == ["True"]  # the control: this login


# From the box to this computer.


@pytest.mark.one_of_each
def test_names_with_escape_sequences_reach_no_terminal(box: boxes.Box, accounts: Accounts) -> None:
    ai, anna = accounts["ai"], accounts["anna"]
    named = anna.start("named", LONG)
    assert "\x1b" in named.said()["name"]
    off = deeprig("off", box.inventory, box.name)
    assert off.code == 1 and "of anna" in off.all
    plain(off.all)
    named.end()
    runs = f"{ai.home}/runs"
    with instead(ai, runs, f"ln -s \"$(printf '/\\033]0;PWN\\007\\033[2J')\" {runs}"):
        done = deploy(box.inventory)
        assert "runs leads to" in done.all
        assert not re.search(r"\x1b\]|\x1b\[2J|\x07", done.all)


def test_a_job_with_escape_sequences_reaches_no_terminal(
    box: boxes.Box, accounts: Accounts
) -> None:
    ai = accounts["ai"]
    begun = deeprig("run", box.inventory, box.name, "trust", "--", "true")
    assert begun.code == 0, begun.all
    [found] = json.loads(deeprig("run", box.inventory, box.name, "--list", "--json").out)
    assert found["name"] == "trust"  # the control
    record = ai.run("ls -d ~/.local/state/deeprig/jobs/trust/job.json").strip()
    job = json.loads(ai.run(f"cat {record}"))
    evil = "\x1b]52;c;UFdO\x07\x1b]0;PWN\x07\x1b[2J\u202e\x9b2J"
    ai.write(record, json.dumps(job | {"command": evil}))
    log = "a\x1b[31mred\x1b[0m \x1b]0;PWN\x07\x1b[2J\x1bP1q\x1b\\\n"
    ai.write(f"{record[:-8]}log", log)
    listed = deeprig("run", box.inventory, box.name, "--list")
    plain(listed.all)
    assert "trust" in listed.out
    followed = deeprig("run", box.inventory, box.name, "--follow", "trust")
    assert "\x1b[31mred" in followed.out  # colour stays
    assert not re.search(r"\x1b[^\[]|\x1b\[[0-9;]*[^0-9;m]|\x07|\x9b", followed.all), followed.all


# A box that was taken over.


@pytest.mark.one_of_each
def test_a_card_whose_address_is_a_command_is_remembered_nowhere(
    box: boxes.Box, accounts: Accounts, tmp_path: Path
) -> None:
    root, pwned = accounts["root"], tmp_path / "PWNED"
    evil = f"00:11:22:33:44:55; id >{pwned}; : "
    file = with_wake(box, tmp_path)
    memory = box.known_hosts.with_name(wake_memory.FILE)
    memory.unlink(missing_ok=True)
    blocker = root.start("named", LONG)
    try:
        with lying_cat(root, evil):
            said = deeprig("off", file, box.name)
            assert said.code in (1, 2)
            assert root.run("cat /tmp/trust-cat-ran").strip() == "yes"
            assert not memory.exists() or evil not in memory.read_text()
            assert box.name in said.all
            plain(said.all)
        honest = deeprig("off", file, box.name)
        assert honest.code == 1 and "stays on" in honest.all
        assert memory.exists()  # the control
    finally:
        blocker.end()


@contextmanager
def lying_cat(root: Account, says: str) -> Iterator[None]:
    """A box whose `cat` says this for the address of a network card."""
    cat = (
        "#!/bin/sh\ncase $1 in */address) echo yes >/tmp/trust-cat-ran; "
        f"printf '%s\\n' '{says}';; *) exec /usr/bin/cat \"$@\";; esac\n"
    )
    for place in ("/usr/local/bin/cat", "/usr/local/sbin/cat"):
        root.write(place, cat)
        root.run(f"chmod 755 {place}")
    try:
        yield
    finally:
        root.run("rm -f /usr/local/bin/cat /usr/local/sbin/cat")


def test_nothing_that_a_box_said_runs_on_the_jump_host(box: boxes.Box, tmp_path: Path) -> None:
    """What an older deeprig remembered is refused too. The jump host is a stub that does what sshd
    does: it hands the command to a shell.
    """
    pwned, ran = tmp_path / "PWNED", tmp_path / "ran"
    stub = tmp_path / "bin/ssh"
    stub.parent.mkdir()
    stub.write_text(  # with -G it only reads settings
        '#!/bin/sh\ncase " $* " in *" -G "*) exec /usr/bin/ssh "$@";; esac\n'
        f'for last; do :; done\necho "$last" >>{ran}\nsh -c "$last" </dev/null\n'
    )
    stub.chmod(0o755)
    file = with_wake(box, tmp_path)
    file.write_text(file.read_text().replace(box.host, "198.18.86.250"))  # nobody answers there
    pins = tmp_path / "known_hosts"
    pins.write_text(box.known_hosts.read_text().replace(box.host, "198.18.86.250"))
    file.write_text(file.read_text().replace(str(box.known_hosts), str(pins)))
    path = {"PATH": f"{stub.parent}:/usr/bin:/bin"}

    def wake(mac: str, lan: str = "198.18.86.0/24") -> Said:
        wake_memory.keep(pins.with_name(wake_memory.FILE), "198.18.86.250", WakeTarget(mac, lan))
        words = (box.name, "--via", "jump", "--timeout", "1")
        return deeprig("wake", file, *words, **path)

    refused = wake(f"00:11:22:33:44:55; id >{pwned}; : ")
    assert not pwned.exists()
    assert refused.code == 2 and box.name in refused.all
    for lan in (f"198.18.86.0/24; id >{pwned}", "\x1b]0;PWN\x07"):
        refused = wake("00:11:22:33:44:55", lan)
        assert not pwned.exists() and "Traceback" not in refused.all
        plain(refused.all)
    assert not ran.exists()
    control = wake("00:11:22:33:44:55")
    assert control.code == 1 and "00:11:22:33:44:55" in ran.read_text(), control.all


@pytest.mark.one_of_each
def test_a_box_that_answers_without_end_costs_little(
    box: boxes.Box, accounts: Accounts, tmp_path: Path
) -> None:
    usual = deeprig("run", box.inventory, box.name, "--list")
    assert usual.code == 0
    with endless(box, accounts["root"], tmp_path, "head -c 1500M /dev/zero") as file:
        said = deeprig("run", file, box.name, "--list")
    assert said.peak - usual.peak < 100, (said.peak, usual.peak)
    one_sentence(said, 2)
