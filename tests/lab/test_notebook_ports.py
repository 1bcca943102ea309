"""Nobody but the work user answers on the notebook's ports, and no other account gets there.

anna is another account of the box. Each attack has a control in which it would succeed.
"""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deeprig.operations import footprint
from deeprig.settings import Rig
from deeprig.ssh import connection
from lab import boxes, inventory_file
from tasks import access, base, jobs, notebook
from tests.host.kernels import COMPUTE
from tests.lab.conftest import DEEPRIG, ROOT, host_data, run_on, wait_for
from tests.lab.test_notebook import SERVER, build, stands, with_notebook
from tests.lab.tunnels import status, tunnel

pytestmark = pytest.mark.lab

Login = Callable[..., str]
PROGRAM = "/opt/strange_sockets.py"
LOG = "/home/anna/log"
GUARD = "sudo /usr/local/lib/deeprig/current/deeprig-box notebook-guard"
UNGUARD = "sudo nft delete table inet deeprig_notebook"
UNIT = "sudo systemctl --user -M ai@ {} deeprig-notebook"
KEEP = "Notebook server | Keep the ports and the tmux folder for ai"
MINE = """#!/usr/sbin/nft -f
flush ruleset
table inet mine {
    chain output {
        type filter hook output priority filter; policy accept;
        oif "lo" accept
    }
}
"""


def firewalled(rig: Rig) -> None:
    survey = base.survey(rig=rig)
    assert survey
    base.have_program()
    access.change(survey=survey, rig=rig)


@pytest.fixture(scope="module", autouse=True)
def served(box: boxes.Box) -> None:
    key = box.key.with_suffix(".pub").read_text().strip()
    box.inventory.write_text(inventory_file.text(box, work_users_key=key))
    report = run_on(box, build)
    assert report.error is None, report.steps
    client = connection.connect(host_data(box))
    text = shlex.quote((ROOT / "tests/lab/strange_sockets.py").read_text())
    _, out, _ = client.exec_command(
        f"printf %s {text} | sudo tee {PROGRAM} >/dev/null; sudo useradd -m anna; "
        "sudo chmod 755 /home/anna; sudo install -d -m 700 -o ai -g ai ~ai/.ssh; "
        f"echo {key} | sudo -u ai tee -a ~ai/.ssh/authorized_keys >/dev/null; echo done"
    )
    assert out.read().decode().strip() == "done"
    client.close()


@pytest.fixture(autouse=True)
def mended(box: boxes.Box, login: Login) -> Iterator[None]:
    """Each test starts with both servers up and guarded, and leaves nobody on a port."""
    yield
    login(f"sudo systemctl stop 'strange-*'; sudo rm -f {LOG}")
    report = run_on(box, with_notebook())
    assert report.error is None, report.steps


def does(user: str, *words: str) -> str:
    """What runs the program as somebody."""
    return f"cd /; sudo -u {user} python3 {PROGRAM} {shlex.join(words)}"


@contextmanager
def squatting(login: Login, *words: str, user: str = "anna") -> Iterator[None]:
    """The notebook is ended, as a crash or a boot would, and somebody else was quicker."""
    login(f"{UNIT.format('stop')}; sudo systemctl reset-failed 'strange-*'; sudo rm -f {LOG}")
    what = shlex.join(["python3", PROGRAM, "serve", *(words or ("127.0.0.1", "8888", LOG))])
    login(f"sudo systemd-run --quiet --collect --uid={user} --unit=strange-{user} {what}")
    wait_for(lambda: "it has the port" in login(f"cat {LOG}", check=False), 20)
    try:
        yield
    finally:
        login(f"sudo systemctl stop strange-{user}")


def got(login: Login) -> str:
    """What the squatter was told."""
    return login(f"cat {LOG}").replace("it has the port", "").strip()


def own_address(login: Login) -> str:
    return login("hostname -I").split()[0]


# -- who listens in

# As anna: hear all that is said on ports of ai's, for as long as somebody says it.
SPY = """
import time, zmq
end, seen, heard = time.time() + 12, {8888, 6006}, b""
hears = zmq.Context().socket(zmq.SUB)
hears.subscribe(b"")
while time.time() < end:
    for row in map(str.split, open("/proc/net/tcp").readlines()[1:]):
        port = int(row[1].split(":")[1], 16)
        if row[3] == "0A" and row[7] == "AI" and port not in seen:
            seen.add(port)
            hears.connect(f"tcp://127.0.0.1:{port}")
    while hears.poll(200):
        heard += b"".join(hears.recv_multipart())
print(b"TERCES" in heard)
"""
TALK = """
import time
from jupyter_client import KernelManager
talks = KernelManager(kernel_name="deeprig-base")
talks.start_kernel()
client = talks.client()
client.start_channels()
client.wait_for_ready(timeout=60)
for _ in range(8):
    time.sleep(1)
    client.execute("print('SECRET'[::-1])")
talks.shutdown_kernel(now=True)
"""
TOOLS = "cd /; sudo -u {} /opt/deeprig/notebook/bin/python -c {}"


def test_another_account_hears_nothing_of_what_a_kernel_runs(login: Login) -> None:
    spy = SPY.replace("AI", login("id -u ai").strip())
    hears = f"{TOOLS.format('anna', shlex.quote(spy))} & "
    say = "import time; [print('SECRET'[::-1], flush=True) or time.sleep(1) for _ in range(8)]"
    compute = TOOLS.format("ai", f"{shlex.quote(COMPUTE)} 8888 deeprig-base {shlex.quote(say)}")
    assert sorted(set(login(f"{hears} {compute}; wait").split())) == ["False", "TERCES"]
    # The control: one that talks on ports, as Jupyter has it by itself.
    assert login(f"{hears} {TOOLS.format('ai', shlex.quote(TALK))}; wait").strip() == "True"


# -- who knocks


@pytest.mark.parametrize("port", ["8888", "6006"])
def test_root_the_work_user_and_the_deploy_user_get_in_and_nobody_else(
    login: Login, port: str
) -> None:
    said = {
        user: login(does(user, "ask", "plain", "127.0.0.1", port)).strip()
        for user in ("root", "ai", "deeprig", "anna", "nobody")
    }
    assert said == {
        "root": "answered", "ai": "answered", "deeprig": "answered",
        "anna": "ConnectionRefusedError", "nobody": "ConnectionRefusedError",
    }  # fmt: skip
    login(UNGUARD)
    assert login(does("anna", "ask", "plain", "127.0.0.1", port)).strip() == "answered"


@pytest.mark.parametrize("kind", ["plain", "mptcp", "fastopen", "device"])
def test_no_kind_of_connection_gets_another_account_in(login: Login, kind: str) -> None:
    """To a server of the work user's on every address, which Jupyter is not."""
    own = own_address(login)
    ways = {("127.0.0.1", "6007"), ("127.0.0.5", "6007"), (own, "6007"), ("::1", "6008")}
    if kind == "device":  # loopback's addresses are then looked for outside
        ways = {(own, "6007")}
    login(f"sudo sed -i s/8888/6007/\\;s/6006/6008/ /etc/deeprig/notebook.conf; {GUARD} load")
    for address, port in (("0.0.0.0", "6007"), ("::1", "6008")):
        serve = shlex.join(["python3", PROGRAM, "serve", address, port, f"/tmp/log-{port}"])
        login(f"sudo systemd-run --quiet --collect --uid=ai --unit=strange-{port} {serve}")
    wait_for(lambda: login("ss -Hltn | grep -c ':600[78]'", check=False).strip() == "2", 20)
    for address, port in ways:
        assert login(does("ai", "ask", kind, address, port)).strip() == "answered"
        assert login(does("anna", "ask", kind, address, port)).strip() != "answered"
    assert "secret" in login("sudo cat /tmp/log-6007")  # the control: this is what arrives
    login("sudo rm -f /tmp/log-600?")
    for address, port in ways:
        login(does("anna", "ask", kind, address, port))
    assert login("sudo cat /tmp/log-600?", check=False) == ""


def test_whom_sshd_forwards_for_is_who_logged_in(box: boxes.Box, login: Login) -> None:
    login(
        "sudo install -d -m 700 -o anna -g anna ~anna/.ssh; sudo install -m 600 -o anna -g anna "
        "~ai/.ssh/authorized_keys ~anna/.ssh/authorized_keys 2>/dev/null || sudo sh -c "
        "'cat ~ai/.ssh/authorized_keys > ~anna/.ssh/authorized_keys'"
    )

    def answers(user: str) -> bool:
        client = connection.connect(host_data(box) | {"ssh_user": user})
        try:
            transport = client.get_transport()
            assert transport
            channel = transport.open_channel(
                "direct-tcpip", ("127.0.0.1", 6006), ("127.0.0.1", 1), timeout=20
            )
            channel.settimeout(20)
            channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return channel.recv(5) == b"HTTP/"
        except Exception:  # paramiko's own, of several kinds
            return False
        finally:
            client.close()

    assert [answers(user) for user in ("deeprig", "ai", "anna")] == [True, True, False]
    login(UNGUARD)
    assert answers("anna")


def test_tensorboard_opens_no_other_door(login: Login) -> None:
    """Its data server would have been one, on a port of its own without a login."""
    wait_for(lambda: stands(login), 60)
    uid = login("id -u ai").strip()
    ports = login(
        f"awk '$4 == \"0A\" && $8 == {uid} {{ print $2 }}' /proc/net/tcp /proc/net/tcp6"
    ).split()
    assert sorted(ports) == sorted(f"0100007F:{port:04X}" for port in (8888, 6006))
    assert login("ls -d /tmp/.tensorboard-info", check=False) == ""
    modes = login("sudo stat -c %a /run/user/$(id -u ai)/deeprig-tensorboard/.tensorboard-info")
    assert modes.strip() == "700"
    info = login("sudo sh -c 'cat /run/user/$(id -u ai)/deeprig-tensorboard/.tensorboard-info/*'")
    assert '"port": 6006' in info  # TensorBoard does write it


# -- who answers


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize(
    "verb",
    [[f"{SERVER} work"], [f"{SERVER} state"], ["sudo -u ai", *notebook.SERVER.split(), "work"]],
)
def test_a_squatter_gets_no_token_from_the_boxs_own_scripts(
    login: Login, verb: list[str], guarded: bool
) -> None:
    """Neither by the rules, nor, where somebody flushed them, from those who look whose it is."""
    with squatting(login):
        if not guarded:
            login(UNGUARD)
        login(" ".join(verb), check=False)
        assert got(login) == ""
        login(does("ai", "ask", "plain", "127.0.0.1", "8888"))
        assert ("secret" in got(login)) is not guarded  # the control: what is sent is seen


@pytest.mark.parametrize("guarded", [True, False])
def test_a_squatter_gets_no_token_from_verify_and_deploy(
    box: boxes.Box, login: Login, guarded: bool
) -> None:
    with squatting(login):
        if not guarded:
            login(UNGUARD)
        verify = [DEEPRIG, "verify", "--inventory", str(box.inventory)]
        done = subprocess.run(
            verify, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400
        )
        assert done.returncode == 1 and "notebook" in done.stdout
        report = run_on(box, with_notebook())
        number = login("systemctl show strange-anna --property=MainPID --value").strip()
        said = "\n".join(step.output for step in report.steps)
        assert f"Port 8888 is taken by python3 (process {number}) of anna" in said
        assert got(login) == ""


def test_a_squatter_gets_no_token_from_off(box: boxes.Box, login: Login) -> None:
    with squatting(login):
        off = [DEEPRIG, "off", "--inventory", str(box.inventory), box.name]
        done = subprocess.run(
            off, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
        )
        # It has asked what runs there, and stays on for its card's sake.
        assert "stays on: it has no card" in done.stdout + done.stderr
        assert got(login) == ""


def test_a_squatter_gets_no_token_from_a_browser_at_the_end_of_a_tunnel(
    box: boxes.Box, login: Login
) -> None:
    with tunnel(box.inventory, "--json") as there:
        link = there.links["jupyterlab"]["url"]
        assert "token=" in link and status(link) == 200
        with squatting(login):
            assert status(link) is None
            assert got(login) == ""
            login(UNGUARD)
            assert status(link) == 200 and "token=" in got(login)  # the control


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::1", "own"])
def test_a_squatter_on_another_address_of_the_box_answers_nobody(
    login: Login, address: str
) -> None:
    own = own_address(login)
    at = own if address == "own" else address
    asked = {"0.0.0.0": ["127.0.0.1", own], "::": ["127.0.0.1", "::1", own]}.get(address, [at])
    with squatting(login, at, "8888", LOG):
        for each in asked:
            assert login(does("ai", "ask", "plain", each, "8888")).strip() == "TimeoutError"
        assert got(login) == ""
        login(UNGUARD)
        assert login(does("ai", "ask", "plain", asked[0], "8888")).strip() == "answered"


def test_a_listener_that_answers_with_cookies_has_no_connection(login: Login) -> None:
    """SYN cookies are sent without a socket; a rule for the socket's owner alone lets them out."""
    with squatting(login, "127.0.0.1", "8888", LOG, "0"):
        cookies = "nstat -az TcpExtSyncookiesSent | awk '/Sent/ { print $2 }'"
        before = int(login(cookies))
        assert login(does("ai", "pile", "8888")).strip() == "0"
        assert int(login(cookies)) > before  # the control: they were sent
        login(UNGUARD)
        assert int(login(does("ai", "pile", "8888"))) > 0


def test_two_that_call_each_other_do_not_meet(login: Login) -> None:
    """TCP opens without a listener where both sides connect at once.

    Nobody is told that a port is closed, so that there is all the time for it.
    """
    chain = "add chain inet lab out { type filter hook output priority 10; }"
    rule = "add rule inet lab out tcp flags & rst == rst drop"
    login(f"{UNIT.format('stop')}; sudo nft 'add table inet lab; {chain}; {rule}'")

    def meet(local: str) -> set[str]:
        both = [does("anna", "cross", "8888", local), does("ai", "cross", local, "8888")]
        return set(login(f"({both[0]}) & ({both[1]}); wait").split("\n")) - {""}

    assert meet("45678") == {"never met"}
    login(UNGUARD)
    said = meet("45679")  # of the other port something is left
    login("sudo nft delete table inet lab")
    assert said == {"met"}  # the control


def test_a_unit_of_another_users_with_our_name_is_not_ours(login: Login) -> None:
    unit = f"[Service]\\nExecStart=/usr/bin/python3 {PROGRAM} serve 127.0.0.1 8888 {LOG}\\n"
    login(
        f"{UNIT.format('stop')}; {UNGUARD}; sudo loginctl enable-linger anna; "
        "sudo -u anna mkdir -p ~anna/.config/systemd/user; "
        f"printf '{unit}' | sudo -u anna tee ~anna/.config/systemd/user/deeprig-notebook.service; "
        "sleep 1; sudo systemctl --user -M anna@ daemon-reload; "
        "sudo systemctl --user -M anna@ restart deeprig-notebook"
    )
    try:
        wait_for(lambda: "it has the port" in login(f"cat {LOG}", check=False), 20)
        assert "of anna" in login(f"{SERVER} free 2>&1", check=False)
        login(f"{SERVER} state")
        assert got(login) == ""
    finally:
        login("sudo systemctl --user -M anna@ stop deeprig-notebook; "
              "sudo rm -r ~anna/.config; sudo loginctl disable-linger anna")  # fmt: skip


# -- what keeps the rules


def guarded(login: Login) -> bool:
    """Whether they are as wanted, and do what they say."""
    knocks = login(does("anna", "ask", "plain", "127.0.0.1", "6006")).strip()
    gets_in = login(does("ai", "ask", "plain", "127.0.0.1", "6006")).strip()
    assert gets_in == "answered"
    said = login(f"{GUARD} check 2>&1", check=False).strip()
    assert (said == "ok") is (knocks == "ConnectionRefusedError"), (said, knocks)
    return said == "ok"


def test_they_stand_beside_ufw_on_and_off_and_reloaded(box: boxes.Box, login: Login) -> None:
    assert guarded(login)
    report = run_on(box, firewalled)
    assert report.error is None, report.steps
    assert "Status: active" in login("sudo ufw status") and guarded(login)
    for verb in ("reload", "--force disable", "--force enable", "--force reset", "--force enable"):
        login("sudo ufw allow 22/tcp; sudo ufw " + verb)
        assert guarded(login), verb
    login("sudo ufw --force disable")
    assert guarded(login)


def test_they_come_back_when_somebodys_nftables_service_flushes_all(login: Login) -> None:
    login(f"printf %s {shlex.quote(MINE)} | sudo tee /etc/nftables.conf")
    try:
        for verb in ("start", "reload", "restart", "stop", "enable --now"):
            login(f"sudo systemctl {verb} nftables")
            assert ("inet mine" in login("sudo nft list tables")) is (verb != "stop")
            assert guarded(login), verb
    finally:
        login("sudo systemctl disable --now nftables")


def test_rules_flushed_by_hand_are_in_the_plan_and_mended_by_a_deploy(
    box: boxes.Box, login: Login
) -> None:
    for gone in ("flush ruleset", "flush chain inet deeprig_notebook knocks"):
        login(f"sudo nft {gone}")
        assert not guarded(login)
        assert run_on(box, with_notebook(), dry=True).changes == [KEEP]
        assert run_on(box, with_notebook()).changes == [KEEP]
        assert guarded(login)
        assert run_on(box, with_notebook()).changes == []


def test_they_stand_before_anybody_at_boot_and_beside_ones_own_rules(
    box: boxes.Box, login: Login
) -> None:
    """anna has a service without a login that is as quick as it can be, and cron."""
    unit = (
        '[Service]\\nExecStart=/bin/sh -c "mkdir /tmp/tmux-$(id -u ai); exec /usr/bin/python3 '
        f'{PROGRAM} serve 127.0.0.1 8888 {LOG}"\\n[Install]\\nWantedBy=default.target\\n'
    )
    login(
        f"printf %s {shlex.quote(MINE)} | sudo tee /etc/nftables.conf; sudo systemctl enable "
        "nftables; sudo loginctl enable-linger anna; "
        "sudo -u anna mkdir -p ~anna/.config/systemd/user/default.target.wants; cd ~anna; "
        f"printf '{unit}' | sudo -u anna tee .config/systemd/user/quick.service; sudo -u anna "
        "ln -s ../quick.service .config/systemd/user/default.target.wants/"
    )
    try:
        boxes.reboot(box.name)
        began = {
            name: int(login(f"systemctl show {name} --property={what} --value"))
            for name, what in (
                ("deeprig-notebook-guard", "ExecMainExitTimestampMonotonic"),
                ("nftables", "ExecMainExitTimestampMonotonic"),
                ("systemd-user-sessions", "ExecMainStartTimestampMonotonic"),
                ("user@$(id -u anna)", "ExecMainStartTimestampMonotonic"),
                ("ssh", "ExecMainStartTimestampMonotonic"),
            )
        }
        guard = began.pop("deeprig-notebook-guard")
        assert began.pop("nftables") < guard < min(began.values())
        assert login(f"{GUARD} check").strip() == "ok"
        assert login("stat -c %U /tmp/tmux-$(id -u ai)").strip() == "ai"
        assert "inet mine" in login("sudo nft list tables")
        login("sudo systemctl --user -M anna@ stop quick; " + UNIT.format("restart"))
        wait_for(lambda: stands(login), 60)
        assert "token" not in login(f"cat {LOG}", check=False)
    finally:
        login("sudo systemctl disable --now nftables; sudo rm -rf ~anna/.config; "
              "sudo loginctl disable-linger anna")  # fmt: skip


def test_the_account_may_have_another_number_after_a_reinstall(login: Login) -> None:
    login(f"{UNIT.format('stop')}; sudo cp /etc/passwd /root/passwd")
    try:
        login("sudo sed -i 's/^ai:x:[0-9]*:/ai:x:4321:/' /etc/passwd")
        assert "other accounts reach" in login(f"{GUARD} check 2>&1", check=False)
        login(f"{GUARD} load")
        assert "skuid 4321" in login("sudo nft -n list table inet deeprig_notebook")
        # An account that is not there: nobody has its ports.
        login("sudo sed -i '/^ai:/d' /etc/passwd")
        assert "no account ai" in login(f"{GUARD} load 2>&1", check=False)
        assert login(does("root", "ask", "plain", "127.0.0.1", "6006")).strip() != "answered"
    finally:
        login(f"sudo cp /root/passwd /etc/passwd; {GUARD} load")


# -- tmux


def attach(box: boxes.Box, command: str) -> str:
    """What `ssh -t ai@box COMMAND` shows within some seconds; with no command it is typed."""
    client = connection.connect(host_data(box) | {"ssh_user": "ai"})
    try:
        transport = client.get_transport()
        assert transport
        channel = transport.open_session()
        channel.get_pty("xterm", 100, 30)
        if command:
            channel.exec_command(command)
        else:
            channel.invoke_shell()
            channel.sendall(b"tmux -L deeprig attach\n")
        said, until = "", time.monotonic() + 15
        while time.monotonic() < until and "1:tensorboard" not in said:
            channel.settimeout(1)
            try:
                said += channel.recv(65536).decode(errors="replace")
            except TimeoutError:
                continue
        return said
    finally:
        client.close()


@pytest.mark.parametrize("kind", ["a folder", "a file", "a link", "a fifo"])
def test_what_somebody_put_where_the_sockets_go_stops_nothing(
    box: boxes.Box, login: Login, kind: str
) -> None:
    folder = f"/tmp/tmux-{login('id -u ai').strip()}"
    make = {
        "a folder": f"mkdir {folder}; touch {folder}/kept",
        "a file": f"touch {folder}",
        "a link": f"mkdir -p /tmp/annas; ln -s /tmp/annas {folder}",
        "a fifo": f"mkfifo {folder}",
    }[kind]
    login(f"{UNIT.format('stop')}; sudo rm -rf {folder}; sudo -u anna sh -c '{make}'")
    report = run_on(box, with_notebook())
    assert report.error is None, report.steps
    assert login(f"stat -c '%U %a %F' {folder}").strip() == "ai 700 directory"
    aside = login(f"ls -d {folder}.*").split()
    assert [login(f"stat -c %U {path}").strip() for path in aside] == ["anna"]
    login(f"sudo rm -rf {folder}.* /tmp/annas")
    for command in ("tmux -L deeprig attach", ""):
        assert "1:tensorboard" in attach(box, command)
    login("sudo -u ai tmux -L deeprig list-windows")


def test_the_jobs_sockets_are_there_too(box: boxes.Box, login: Login) -> None:
    report = run_on(box, lambda rig: jobs.provide())
    assert report.error is None, report.steps
    run = [DEEPRIG, "run", box.name, "a", "--inventory", str(box.inventory), "--", "sleep", "100"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert login("sudo -u ai tmux -L deeprig-jobs list-windows")
    login("sudo -u ai tmux -L deeprig-jobs kill-server")


# -- what root waits for


@pytest.mark.parametrize(
    "there", ["mkfifo $s", "ln -s /dev/zero $s", "mkdir $s", "truncate -s 1G $s", "ln -s $s $s"]
)
def test_nothing_in_the_users_folder_holds_root_up(
    box: boxes.Box, login: Login, there: str
) -> None:
    started = f"/run/user/{login('id -u ai').strip()}/deeprig-notebook.started"
    login(f"s={started}; sudo rm -rf $s; sudo -u ai sh -c {shlex.quote(f's={started}; {there}')}")
    asked = time.monotonic()
    assert login(f"{SERVER} state").startswith("it runs with old settings")
    assert time.monotonic() - asked < 60
    if there.startswith("mkdir"):
        login(f"sudo rmdir {started}")
    report = run_on(box, with_notebook())
    assert report.error is None, report.steps
    assert run_on(box, with_notebook()).changes == []


def test_a_disk_without_room_makes_no_server_with_a_short_token(login: Login) -> None:
    folder = "~ai/.config/deeprig"
    login(
        f"{UNIT.format('stop')}; sudo mount -t tmpfs -o size=4k,nr_inodes=20,uid=$(id -u ai),"
        f"mode=700 none {folder}; sudo -u ai sh -c 'head -c 4096 /dev/zero > {folder}/full'"
    )
    try:
        login(UNIT.format("start"), check=False)
        time.sleep(6)
        assert login("ss -Hltn 'sport = :8888'") == ""
        said = login("sudo journalctl -n 200 -o cat _UID=$(id -u ai)")
        assert "config/deeprig cannot be written to; `df -h" in said
        login(f"sudo rm {folder}/full")
        wait_for(lambda: stands(login), 60)  # the control: with room it comes up
        assert login(f"sudo stat -c %s {folder}/notebook-token").strip() == "64"
    finally:
        login(f"{UNIT.format('stop')}; sudo umount {folder}")


# -- taken out


def test_taken_out_it_follows_no_link_of_the_users(box: boxes.Box, login: Login) -> None:
    login(
        "sudo mkdir /etc/victim; sudo touch /etc/victim/notebook-token; "
        "sudo rm -rf ~ai/.config/deeprig; sudo -u ai ln -s /etc/victim ~ai/.config/deeprig"
    )
    try:
        report = run_on(box, lambda rig: footprint.take_out("notebook", notebook.FOOTPRINT))
        assert report.error is None, report.steps
        login("test -e /etc/victim/notebook-token")
        assert (
            login(
                "sudo nft list tables; ls /etc/systemd/system | grep -e notebook -e nftables; "
                "ls /run | grep notebook-",
                check=False,
            )
            == ""
        )
        assert login("systemctl list-unit-files | grep notebook-guard", check=False) == ""
    finally:
        login("sudo rm -rf ~ai/.config/deeprig /etc/victim")
    assert run_on(box, with_notebook()).error is None
    login("sudo -u ai test -s ~ai/.config/deeprig/notebook-token")
    report = run_on(box, lambda rig: footprint.take_out("notebook", notebook.FOOTPRINT))
    assert report.error is None, report.steps
    login("! sudo test -e ~ai/.config/deeprig")  # the control: where it is theirs it goes


def test_a_box_without_a_firewall_of_ours_is_guarded_as_well(
    box: boxes.Box, changed: Callable[..., Path], login: Login
) -> None:
    file = changed(("rig=Rig(", "rig=Rig(firewall=None, "))
    done = subprocess.run(
        [str(Path(DEEPRIG).with_name("pyinfra")), "-y", str(file), "deploy.py"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert guarded(login)
