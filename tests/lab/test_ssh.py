"""The way in as strangers, auditors and VS Code see it."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyinfra.context import host

from deeprig.errors import DeeprigError
from deeprig.facts.survey import Survey
from deeprig.runner import runs
from deeprig.settings import Firewall, Rig, Ssh
from deeprig.ssh import connection
from lab import boxes
from tasks import access, access_proof, base
from tasks.access_facts import Access, AccessState
from tests.lab.conftest import deploy, host_data, run_on

pytestmark = pytest.mark.lab

SSH_AUDIT = str(Path(sys.executable).with_name("ssh-audit"))
SOCKS_PORT = 21080
POLICIES = {
    "debian-12": "Hardened Debian 12 (version 3)",
    "ubuntu-like": "Hardened Ubuntu Server 24.04 LTS (version 2)",
}


def way_in(ssh: Ssh, firewall: Firewall | None = None) -> Callable[[Rig], None]:
    """The part of the deploy that changes the way in, with other settings than the inventory's."""

    def build(rig: Rig) -> None:
        wanted = Rig(notebook=None, ssh=ssh, firewall=firewall or Firewall())
        survey: Survey | None = base.survey(rig=wanted)
        if survey is not None:
            base.have_program()
            access.change(survey=survey, rig=wanted)

    return build


@pytest.fixture(scope="module", autouse=True)
def usual(box: boxes.Box) -> None:
    report = run_on(box, way_in(Ssh()))
    assert report.error is None, report.steps


def audit(box: boxes.Box, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SSH_AUDIT, "--skip-rate-test", *options, box.host],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def openssh(box: boxes.Box, *options: str) -> list[str]:
    data = host_data(box)
    return [
        "ssh", "-F", "none", "-i", str(data["ssh_key"]), "-o", "IdentitiesOnly=yes",
        "-o", f"UserKnownHostsFile={data['ssh_known_hosts_file']}", "-o", "BatchMode=yes",
        *options, f"deeprig@{box.host}",
    ]  # fmt: skip


def test_ssh_audit_finds_no_failure(box: boxes.Box) -> None:
    done = audit(box, "--level=fail")
    assert "[fail]" not in done.stdout
    assert "kex" in audit(box).stdout  # the control: it did look


def test_vs_code_s_way_in_works(box: boxes.Box) -> None:
    """`ssh -D`: a SOCKS proxy through which any port of the box is reached."""
    tunnel = subprocess.Popen(openssh(box, "-N", "-D", f"127.0.0.1:{SOCKS_PORT}"))
    try:
        assert through_socks(box.host, 22, deadline=10).startswith(b"SSH-2.0")
    finally:
        tunnel.terminate()
        tunnel.wait()


def through_socks(host: str, port: int, *, deadline: float) -> bytes:
    started = time.monotonic()
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", SOCKS_PORT), timeout=5)
            break
        except ConnectionRefusedError:
            assert time.monotonic() - started < deadline
            time.sleep(0.2)
    with sock:
        sock.sendall(b"\x05\x01\x00")
        assert sock.recv(2) == b"\x05\x00"
        sock.sendall(b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + port.to_bytes(2, "big"))
        assert sock.recv(10)[1] == 0
        return sock.recv(16)


def test_an_agent_reaches_the_box(box: boxes.Box) -> None:
    done = subprocess.run(
        ["ssh-agent", *openssh(box, "-A"), "test -S $SSH_AUTH_SOCK && echo agent"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout.strip() == "agent", done.stderr


def test_the_box_answers_ping(box: boxes.Box) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(3)
        # Echo request, code 0, checksum 0xf7fd, identifier 1, sequence number 1 (RFC 792).
        sock.sendto(bytes.fromhex("0800f7fd00010001"), (box.host, 0))
        packet, (address, _) = sock.recvfrom(64)
    assert address == box.host
    assert packet[20:] == bytes.fromhex("0000fffd00010001")  # echo reply


def test_allowed_ports_and_trusted_interfaces_are_open_and_no_other(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    card = login("ip -o route show default").split(" dev ")[1].split()[0]
    login("sudo systemd-run --quiet --unit=a python3 -m http.server 8101")
    login("sudo systemd-run --quiet --unit=b python3 -m http.server 8102")
    time.sleep(1)
    try:
        assert (answers(box, 8101), answers(box, 8102)) == (False, False)
        run_on(box, way_in(Ssh(), Firewall(allow=("8101/tcp",))))
        assert (answers(box, 8101), answers(box, 8102)) == (True, False)
        run_on(box, way_in(Ssh(), Firewall(trusted_interfaces=(card,))))
        assert (answers(box, 8101), answers(box, 8102)) == (True, True)
        run_on(box, way_in(Ssh(), Firewall(allow=("8102/tcp from 203.0.113.0/24",))))
        assert (answers(box, 8101), answers(box, 8102)) == (False, False)
        login("sudo ufw allow 8102/tcp")  # as its user types it; a deploy leaves it alone
        assert run_on(box, way_in(Ssh())).error is None
        assert (answers(box, 8101), answers(box, 8102)) == (False, True)
    finally:
        login("sudo systemctl stop a b; sudo ufw delete allow 8102/tcp", check=False)
        run_on(box, way_in(Ssh()))


def firewall_of(box: boxes.Box) -> Access:
    """As a deploy sees it, which reads ufw's files and not what ufw says."""
    found: list[Access] = []
    run_on(box, lambda rig: found.append(host.get_fact(AccessState, paths=[])), dry=True)
    return found[0]


def test_the_firewall_is_seen_as_ufw_says_it_is(box: boxes.Box, login: Callable[..., str]) -> None:
    both = {"allow in on lo to any port 67 proto udp": "by card", "allow 8103": "v4 and v6"}
    ours = {**both, "allow from 2001:db8::/32 to any port 8104": "v6 from there"}
    theirs = {"allow 8105/tcp": "its deeprig user", "limit 8106/tcp": "deeprigs", "deny 8107": ""}
    try:
        for rule, name in ours.items():
            login(f"sudo ufw {rule} comment 'deeprig {name}'")
        for rule, comment in theirs.items():
            login(f'sudo ufw {rule} comment "{comment}"')
        shown = re.findall(r"comment 'deeprig (.*)'$", login("sudo ufw show added"), re.M)
        assert len(shown) == len(ours) + 1  # the control: SSH's own
        seen = firewall_of(box)
        assert sorted({half.ours for half in seen.rules} - {""}) == sorted(shown)
        assert seen.firewall_on
        login("sudo sed -i s/^ENABLED=yes/ENABLED=no/ /etc/ufw/ufw.conf")
        assert not firewall_of(box).firewall_on  # ufw calls it active: until the next boot
        login("sudo ufw --force disable")
        off = firewall_of(box)
        assert not off.firewall_on
        assert off.rules == seen.rules
        assert run_on(box, way_in(Ssh())).error is None
        assert "Status: active" in login("sudo ufw status")
        again = firewall_of(box)
        assert {half.ours for half in again.rules} == {"ssh 22/tcp", ""}
        assert (again.firewall_on, again.pending) == (True, False)
        for rule in theirs:
            assert rule.split()[1].split("/")[0] in login("sudo ufw show added")
    finally:
        for rule in (*ours, *theirs):
            login(f"sudo ufw delete {rule}", check=False)
        run_on(box, way_in(Ssh()))


def answers(box: boxes.Box, port: int) -> bool:
    try:
        socket.create_connection((box.host, port), timeout=2).close()
    except TimeoutError:
        return False
    return True


def test_strict_meets_ssh_audits_policy_or_is_refused(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    before = login("sudo sh -c 'cat /etc/ssh/sshd_config.d/* /etc/ssh/*.pub'")
    report = run_on(box, way_in(Ssh(strict=True)))
    if box.os not in POLICIES:
        # paramiko 4, which pyinfra 3.10 brings, knows no post-quantum key exchange.
        assert report.error is not None
        assert report.steps == []
        assert login("sudo sh -c 'cat /etc/ssh/sshd_config.d/* /etc/ssh/*.pub'") == before
        return
    assert report.error is None
    found = json.loads(audit(box, "--json", "--policy", POLICIES[box.os]).stdout)
    # The stand-in's OpenSSH 10 leaves more out by itself than the 9.6 of the policy, and deeprig
    # makes nothing looser; on the policy's own system nothing may differ.
    own = {
        kind: set(names.split(","))
        for kind, names in (
            line.split() for line in login("sudo sshd -T -f /dev/null").splitlines()
            if line.startswith(("kexalgorithms", "ciphers", "macs"))
        )
    }  # fmt: skip
    for error in found["errors"]:
        wanted, offered = (set(error[key]) for key in ("expected_required", "actual"))
        assert box.os == "ubuntu-like" and error["mismatched_field"] == "Key exchanges", error
        assert offered < wanted and not (wanted - offered) & own["kexalgorithms"], error
    assert run_on(box, way_in(Ssh(strict=True))).changes == []
    assert run_on(box, way_in(Ssh())).error is None


@pytest.mark.parametrize(
    ("kind", "ssh", "breaks"),
    [("ecdsa", Ssh(), False), ("rsa", Ssh(strict=True), True), ("rsa", Ssh(strict=True), False)],
)
def test_a_box_that_is_known_by_a_key_that_goes_stays_in_reach(
    box: boxes.Box,
    login: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ssh: Ssh,
    breaks: bool,
) -> None:
    """Pinned is one key of the box; sshd is to have others, and the proof comes or does not."""
    if ssh.strict and box.os != "debian-12":
        pytest.skip("strict replaces no RSA host key there")
    make = "ssh-keygen -q -t rsa -b 3072 -N '' -f /etc/ssh/ssh_host_rsa_key"
    login(
        'sudo sh -c "rm -f /etc/ssh/sshd_config.d/10-deeprig.conf /etc/ssh/ssh_host_rsa_key*; '
        f'{make}; systemctl restart ssh"'
    )
    pins = tmp_path / "pins"
    line = login(f"cut -d' ' -f1,2 /etc/ssh/ssh_host_{kind}_key.pub")
    pins.write_text(f"{box.host} {line}")
    data = host_data(box) | {"ssh_known_hosts_file": str(pins)}
    data["ssh_paramiko_connect_kwargs"] = connection.Options(data)
    connection.connect(data).close()  # the control

    def no_confirmation(*_: object) -> None:
        raise DeeprigError("the link broke")

    if breaks:
        monkeypatch.setattr(access_proof, "_confirm", no_confirmation)
    report = runs.run(box.name, data, way_in(ssh))
    assert (report.error is None) is not breaks, report.steps
    pins.write_text(pins.read_text() if not breaks else f"{box.host} {line}")
    connection.connect(data).close()
    monkeypatch.undo()
    assert run_on(box, way_in(Ssh())).error is None


def test_a_new_port_is_proved_dialled_and_the_old_one_closed(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    box.inventory.write_text(
        box.inventory.read_text()
        .replace("rig=Rig(", "rig=Rig(ssh=Ssh(port=2222), python=None,")
        .replace('notebook=Notebook(user="ai")', "notebook=None")
        .replace('            python=Python(python="system"),\n', "")
        .replace("import ", "import Ssh, ")
    )
    assert host_data(box)["ssh_port"] == 22  # not proved yet
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    assert host_data(box)["ssh_port"] == 2222
    assert login("echo in").strip() == "in"
    assert not open_door(box, 22)
    assert re.findall(r"comment 'deeprig ssh (\d+)", login("sudo ufw show added")) == ["2222"]

    again = deploy(box)
    [total] = re.findall(r"Grand total +(\d+) +(\S+)", again.stdout + again.stderr)
    assert total[1] == "-"
    boxes.cut(box.name, off=True)
    boxes.up(box.name)
    assert login("echo in").strip() == "in"
    with connection.connect(host_data(box)) as client:
        assert client.get_transport() is not None


def open_door(box: boxes.Box, port: int) -> bool:
    try:
        socket.create_connection((box.host, port), timeout=3).close()
    except (TimeoutError, ConnectionRefusedError):
        return False
    return True
