"""The tunnel opens, comes back after every kind of cut, and ends without a trace."""

import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import boxes, network
from tests.lab.conftest import DEEPRIG, ROOT, run_on, wait_for
from tests.lab.test_notebook import build
from tests.lab.tunnels import Tunnel, refused, status, tunnel

pytestmark = pytest.mark.lab

Login = Callable[..., str]
Changed = Callable[..., Path]
NOTICED_SECONDS = 20
BACK_SECONDS = 40
NOWHERE = "198.18.86.250"  # nobody has this address in the lab's network
HASH = "argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"
UNIT = "sudo -u ai XDG_RUNTIME_DIR=/run/user/$(id -u ai) systemctl --user {} deeprig-notebook"


@pytest.fixture(scope="module", autouse=True)
def served(box: boxes.Box) -> None:
    report = run_on(box, build)
    assert report.error is None, report.steps


@pytest.fixture(scope="module")
def opened(box: boxes.Box, served: None) -> Iterator[Tunnel]:
    """One tunnel that goes through all the cuts."""
    with tunnel(box.inventory, "--json") as there:
        yield there


def ssh_children(box: boxes.Box) -> set[int]:
    """The process numbers of every `ssh` of a tunnel to this box."""
    found = subprocess.run(
        ["pgrep", "-f", f"^ssh -F none .*{box.host}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {int(number) for number in found.stdout.split()}


def is_back(opened: Tunnel, before: str) -> bool:
    """Whether it has come back since it had said `before`, through the ports of its links."""
    return "is back after" in opened.said()[len(before) :] and opened.answers()


def test_the_links_lead_to_both_servers(opened: Tunnel) -> None:
    url = opened.links["jupyterlab"]["url"]
    assert status(url) == 200
    assert opened.answers()
    assert status(url.partition("/lab")[0] + "/api/status") == 403  # the control: without its token
    assert status(opened.links["tensorboard"]["url"] + "data/environment") == 200


def test_the_token_is_in_no_process_list_and_no_log(opened: Tunnel, login: Login) -> None:
    token = opened.links["jupyterlab"]["url"].partition("token=")[2]
    assert len(token) == 64
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
    here = subprocess.run(look, shell=True, capture_output=True, text=True, check=False).stdout
    there = login(f"sudo sh -c {shlex.quote(look)}; true")
    log = login("sudo journalctl --no-pager -o cat")
    assert "deeprig tunnel" in here and "jupyter-lab" in there
    assert re.search("COMMAND=.*notebook-token", log)  # the control: how it was read stands there
    assert token not in here + there + log + opened.said()


def test_two_tunnels_at_once_have_different_ports(box: boxes.Box, opened: Tunnel) -> None:
    with socket.create_server(("127.0.0.1", opened.links["jupyterlab"]["port"] + 1)) as squatter:
        taken = {squatter.getsockname()[1], opened.links["jupyterlab"]["port"]}
        with tunnel(box.inventory, box.name, "--json") as second:
            assert second.links["jupyterlab"]["port"] not in taken
            assert second.answers() and opened.answers()
            port = second.links["tensorboard"]["port"]
            assert port != opened.links["tensorboard"]["port"]
            assert f"port 6006 is taken here; TensorBoard has {port}" in second.said()


def test_it_comes_back_when_the_cable_was_pulled(box: boxes.Box, opened: Tunnel) -> None:
    before = opened.said()
    network.unplug(box.host)
    try:
        noticed = wait_for(lambda: "was lost at" in opened.said()[len(before) :], NOTICED_SECONDS)
        assert not opened.answers()
    finally:
        network.plug(box.host)
    back = wait_for(lambda: is_back(opened, before), BACK_SECONDS)
    print(f"noticed after {noticed:.1f} s, back {back:.1f} s after the cable")


def test_it_comes_back_when_sshd_was_stopped(opened: Tunnel, login: Login) -> None:
    before = opened.said()
    stop = "systemctl stop ssh; pkill -x sshd; pkill -x sshd-session; sleep 3; systemctl start ssh"
    login(f"sudo systemd-run --quiet sh -c '{stop}; true'", check=False)
    back = wait_for(lambda: is_back(opened, before), BACK_SECONDS)
    assert "waiting for SSH: ssh: connect to host" in opened.said()[len(before) :]
    print(f"back after {back:.1f} s")


def test_it_comes_back_when_the_box_was_rebooted(box: boxes.Box, opened: Tunnel) -> None:
    before = opened.said()
    boxes.reboot(box.name)
    back = wait_for(lambda: is_back(opened, before), BACK_SECONDS)
    print(f"back {back:.1f} s after the first login")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_nothing_left_running(box: boxes.Box, how: signal.Signals) -> None:
    others = ssh_children(box)
    with tunnel(box.inventory, "--json") as there:
        assert ssh_children(box) != others  # the control: there is one to be ended
        assert there.end(how) == 0
        assert there.said().endswith("closed\n")
    assert ssh_children(box) == others


def test_its_ssh_ends_where_it_is_killed(box: boxes.Box) -> None:
    others = ssh_children(box)
    with tunnel(box.inventory, "--json") as there:
        assert ssh_children(box) != others
        there.end(signal.SIGKILL)
        wait_for(lambda: ssh_children(box) == others, 10)


def test_the_printed_block_works_with_ssh(box: boxes.Box, tmp_path: Path) -> None:
    block, config = tmp_path / "with space", tmp_path / "config"
    block.mkdir()
    pins = block / "known hosts"
    pins.write_text(box.known_hosts.read_text())
    inventory = block / "inventory.py"
    inventory.write_text(box.inventory.read_text().replace(str(box.known_hosts), str(pins)))
    printed = subprocess.run(
        [DEEPRIG, "tunnel", "--inventory", str(inventory), "--print-ssh-config"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    config.write_text(printed.replace(":8888 127", ":18888 127").replace(":6006 127", ":16006 127"))
    assert config.read_text().count("LocalForward 127.0.0.1:1") == 2
    ask = "for n in 18888/api 16006/; do curl -s --noproxy '*' -o /dev/null -w '%{http_code} ' "
    done = subprocess.run(
        ["sh", "-c", f"ssh -F {config} -o BatchMode=yes {box.name} 'echo in; sleep 5' & sleep 3; "
         f"{ask} 127.0.0.1:$n; done; wait"],
        text=True, capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout.split() == ["in", "200", "200"], done.stderr


def wrong_pins(box: boxes.Box, file: Path) -> None:
    """Pins of a key that is not the box's."""
    other = Path(file.parent, "other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    file.write_text(f"{box.host} {' '.join(other.with_suffix('.pub').read_text().split()[:2])}\n")


def test_a_wrong_host_key_is_refused(box: boxes.Box, changed: Changed, tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    wrong_pins(box, pins)
    code, said = refused(changed((str(box.known_hosts), str(pins))))
    assert code == 2
    assert "shows another host key than the pinned one" in said


def test_a_host_key_that_changes_ends_it(box: boxes.Box, changed: Changed, tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    pins.write_text(box.known_hosts.read_text())
    others = ssh_children(box)
    with tunnel(changed((str(box.known_hosts), str(pins))), "--json") as there:
        wrong_pins(box, pins)
        [child] = ssh_children(box) - others
        os.kill(child, signal.SIGTERM)
        assert there.process.wait(timeout=20) == 2
        assert "deeprig bootstrap" in there.said().splitlines()[-1]


def test_a_cut_finds_the_port_that_was_proved_meanwhile(
    box: boxes.Box, changed: Changed, tmp_path: Path, login: Login
) -> None:
    pins, others = tmp_path / "known_hosts", ssh_children(box)
    pins.write_text(box.known_hosts.read_text())
    moved = changed(
        (str(box.known_hosts), str(pins)),
        ("import Notebook", "import Ssh, Notebook"),
        ("rig=Rig(", "rig=Rig(ssh=Ssh(port=2222),"),
    )
    login("sudo /usr/sbin/sshd -p 2222")
    with tunnel(moved, "--json") as there:
        [child] = ssh_children(box) - others
        assert "-oPort=22\0" in Path(f"/proc/{child}/cmdline").read_text()
        pins.write_text(pins.read_text() + pins.read_text().replace(box.host, f"[{box.host}]:2222"))
        os.kill(child, signal.SIGTERM)
        wait_for(lambda: is_back(there, ""), BACK_SECONDS)
        [child] = ssh_children(box) - others
        assert "-oPort=2222\0" in Path(f"/proc/{child}/cmdline").read_text()
    login("sudo pkill -f 'sshd -p 2222'")


def test_another_token_is_shown_after_a_cut(box: boxes.Box, login: Login) -> None:
    file, others = "~ai/.config/deeprig/notebook-token", ssh_children(box)
    with tunnel(box.inventory, "--json") as there:
        assert there.process.stdout
        [child] = ssh_children(box) - others
        login(f"sudo sh -c 'cp -p {file} /root/token; echo {'ab' * 32} > {file}'")
        os.kill(child, signal.SIGTERM)
        printed, _, _ = select.select([there.process.stdout], [], [], BACK_SECONDS)
        login(f"sudo sh -c 'cat /root/token > {file}; rm /root/token'")
        assert printed
        second = json.loads(there.process.stdout.readline())
        assert second["jupyterlab"]["url"].endswith(f"token={'ab' * 32}")
        assert second["jupyterlab"]["port"] == there.links["jupyterlab"]["port"]


def test_a_key_in_the_agent_opens_it(
    box: boxes.Box, changed: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", os.environ["SSH_AUTH_SOCK"]], stdout=subprocess.DEVNULL
    )
    without = changed((f'key="{box.key}"', "key=None"))
    try:
        wait_for((tmp_path / "agent").exists, 5)
        assert "there is no key here; `ssh-add` one" in refused(without)[1]  # the control
        subprocess.run(["ssh-add", "-q", str(box.key)], check=True)
        with tunnel(without, "--json") as there:
            assert there.answers()
    finally:
        agent.terminate()
        agent.wait()


def test_a_box_that_is_off_is_one_line(box: boxes.Box, changed: Changed, tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    pins.write_text(box.known_hosts.read_text().replace(box.host, NOWHERE))
    other = ((f'"{box.host}"', f'"{NOWHERE}"'), (str(box.known_hosts), str(pins)))
    code, said = refused(changed(*other))
    assert code == 2
    assert said.startswith(f"{NOWHERE} port 22 does not answer")
    assert said.endswith("is it on, is the cable in?")


def test_a_box_without_a_notebook_is_one_line(changed: Changed) -> None:
    code, said = refused(changed(('Notebook(user="ai")', "None")))
    assert (code, "has notebook=None" in said) == (2, True)


def test_an_unknown_box_is_one_line(box: boxes.Box) -> None:
    code, said = refused(box.inventory, "nobody")
    assert (code, f"has no box 'nobody'; it has: {box.name}" in said) == (2, True)


def test_a_notebook_that_does_not_run_is_one_line(box: boxes.Box, login: Login) -> None:
    login(UNIT.format("stop"))
    try:
        code, said = refused(box.inventory)
    finally:
        login(UNIT.format("start"))
    assert code == 1
    assert said.startswith(f"Neither JupyterLab nor TensorBoard answers on {box.name}")
    assert "deploy.py" in said


def test_with_a_password_the_link_has_no_token(box: boxes.Box, changed: Changed) -> None:
    password = changed(('user="ai")', f'user="ai", password_hash="{HASH}")'))
    with tunnel(password, lines=3) as there:
        assert "token" not in there.shown
        assert "/lab  (asks for the password)" in there.shown
