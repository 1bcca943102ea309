"""Whoever owns a box has settled its way in before: nobody is locked out, nothing is loosened."""

import logging
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from deeprig.runner.runs import Report, run
from deeprig.settings import Firewall, Notebook, Rig, Ssh
from deeprig.ssh import connection, known_hosts
from lab import boxes
from tasks import access, base
from tests.lab.conftest import PYINFRA, ROOT, host_data, variant, wait_for
from tests.lab.test_bootstrap import inside
from tests.lab.test_lockout import ALARM_SECONDS, Login

pytestmark = pytest.mark.lab

PEOPLE = Rig(notebook=Notebook(user="ai"))
LEFT_ALONE = Rig(notebook=Notebook(user="ai"), firewall=None)
GONE = Rig(notebook=Notebook(user="ai"), absent=("firewall",))
OUR_NETWORK = "allow from 198.18.86.0/24 to any port 22"
LIMIT_SECONDS = 31  # `ufw limit` takes five connections in half a minute
KEPT = "/etc/ssh /etc/ufw /etc/default/ufw"
# Ubuntu's own unit; Debian's says `ListenStream=22` and nothing of IPv6.
UBUNTUS_SOCKET = r"""[Unit]
Description=OpenBSD Secure Shell server socket
Before=ssh.service
[Socket]
ListenStream=0.0.0.0:22
ListenStream=[::]:22
BindIPv6Only=ipv6-only
Accept=no
FreeBind=yes
[Install]
WantedBy=sockets.target
"""


@pytest.fixture(scope="module", autouse=True)
def first_state(box: boxes.Box) -> None:
    """A box with ufw that is off, as its owner has it before deeprig."""
    inside(box, "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install ufw")
    inside(box, f"tar -C / -cpf /root/first.tar {KEPT.replace('/etc', 'etc')} 2>/dev/null")


@pytest.fixture(autouse=True)
def as_at_first(box: boxes.Box) -> None:
    inside(
        box,
        # While systemd still has the units by which they run: else a sshd would be left over.
        "systemctl stop -q ssh.socket ssh.service; ufw --force disable; ufw --force reset; "
        f"rm -rf {KEPT} /etc/systemd/system/ssh.socket* /var/lib/deeprig/access "
        "/var/lib/deeprig/firewall-before; tar -C / -xpf /root/first.tar; "
        "systemctl disable -q --now ssh.socket; systemctl daemon-reload; "
        "systemctl enable -q ssh.service; systemctl restart ssh.service",
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def deploy(box: boxes.Box, rig: Rig = PEOPLE, data: dict[str, object] | None = None) -> Report:
    """The part of a deploy that changes the way in."""

    def build(rig: Rig) -> None:
        if survey := base.survey(rig=rig):
            base.have_program()
            access.change(survey=survey, rig=rig)

    return run(box.name, {**(data or host_data(box)), "rig": rig}, build)


def well(report: Report) -> list[str]:
    """What a deploy changed that had no reason to stop."""
    assert report.error is None, (report.error, report.refusals, report.steps)
    return report.changes


def rules(box: boxes.Box) -> list[str]:
    return inside(box, "ufw show added").splitlines()[1:]


def effective(box: boxes.Box, *keywords: str, user: str = "") -> dict[str, str]:
    who = f"-C user={user},host=198.18.86.1,addr=198.18.86.1,laddr={box.host},lport=22"
    lines = inside(box, f"sshd -T {who if user else ''}").splitlines()
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    return {keyword: found[keyword] for keyword in keywords}


def way_in(box: boxes.Box) -> str:
    """All that may not change where a change is refused or taken back."""
    return inside(
        box,
        "set +e; cat /etc/ssh/sshd_config /etc/ssh/sshd_config.d/* 2>/dev/null; "
        "ufw status verbose; grep -h tuple /etc/ufw/user*.rules; grep DEFAULT_ /etc/default/ufw; "
        "systemctl show -P Listen ssh.socket; ls /var/lib/deeprig/access 2>/dev/null | "
        "grep pending; systemctl is-active deeprig-access-revert.timer; true",
    )


# The firewall.


@pytest.mark.parametrize(
    "rule",
    [
        "allow 22/tcp",
        "allow OpenSSH",
        "limit 22/tcp",
        OUR_NETWORK,
        "allow in on eth0 to any port 22 proto tcp",
    ],
)
def test_an_owners_rule_stays_as_it_is_when_deeprig_comes_and_when_its_firewall_goes(
    box: boxes.Box, login: Login, rule: str
) -> None:
    inside(box, f"ufw {rule}; ufw --force enable")
    rest = LIMIT_SECONDS if "limit" in rule else 0
    before = rules(box)
    well(deploy(box))
    assert rules(box) == before
    time.sleep(rest)
    assert well(deploy(box)) == []
    time.sleep(rest)
    well(deploy(box, GONE))
    time.sleep(rest)
    assert rules(box) == before
    assert login("sudo ufw status | head -n 1").strip() == "Status: active"


def test_a_firewall_that_deeprig_switched_on_goes_as_it_came(box: boxes.Box, login: Login) -> None:
    inside(box, "ufw allow from 10.1.0.0/16 to any port 22; ufw default allow incoming")
    before = way_in(box)
    well(deploy(box))
    shown = login("sudo ufw status verbose")
    assert "deny (incoming), allow (outgoing)" in shown
    assert any("deeprig ssh 22/tcp" in rule for rule in rules(box))  # we do not come from 10.1
    well(deploy(box, GONE))
    after = way_in(box).split("Status:")[1]
    assert after == before.split("Status:")[1]
    assert login("echo in").strip() == "in"


def test_a_rule_that_an_earlier_deeprig_took_over_is_handed_back(
    box: boxes.Box, login: Login, said: Callable[[], str]
) -> None:
    inside(box, "ufw allow 22/tcp comment 'deeprig ssh 22/tcp'; ufw --force enable")
    well(deploy(box, GONE))
    assert "is yours now" in said()
    assert rules(box) == ["ufw allow 22/tcp"]
    assert login("echo in").strip() == "in"
    assert well(deploy(box, GONE)) == []


def test_what_the_settings_no_longer_allow_goes_and_what_the_owner_allowed_stays(
    box: boxes.Box,
) -> None:
    inside(box, "ufw allow 22/tcp; ufw allow 8101/tcp; ufw deny 8103/tcp; ufw --force enable")
    both = Rig(notebook=None, firewall=Firewall(allow=("8101/tcp", "8102/tcp", "8103/tcp")))
    well(deploy(box, both))
    assert [rule for rule in rules(box) if "deeprig" in rule] == [
        "ufw allow 8102/tcp comment 'deeprig 8102/tcp'"
    ]
    well(deploy(box, PEOPLE))
    assert rules(box) == ["ufw allow 22/tcp", "ufw allow 8101/tcp", "ufw deny 8103/tcp"]


def test_a_deny_of_the_owners_at_the_new_port_is_named_and_the_move_taken_back(
    box: boxes.Box, login: Login, said: Callable[[], str]
) -> None:
    inside(box, "ufw allow 22/tcp; ufw deny 2222/tcp; ufw --force enable")
    before = way_in(box)
    assert deploy(box, Rig(notebook=None, ssh=Ssh(port=2222))).error is not None
    assert "ufw has `deny in proto tcp from 0.0.0.0/0 to 0.0.0.0/0 port 2222` of yours" in said()
    assert way_in(box) == before
    assert login("echo in").strip() == "in"


# What is dialled is not what listens.


@contextmanager
def forwarded(box: boxes.Box, port: int = 22) -> Iterator[int]:
    """A port of this machine that leads to one of the box's, as a router at home does it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_accept, args=(door, box.host, port), daemon=True).start()
        yield door.getsockname()[1]


def _accept(door: socket.socket, host: str, port: int) -> None:
    while True:
        try:
            near, _ = door.accept()
            far = socket.create_connection((host, port), timeout=5)
        except OSError:
            if door.fileno() < 0:
                return
            continue
        far.settimeout(None)
        for a, b in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(a, b), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()


def test_a_box_behind_a_port_forward_opens_its_own_port(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    own = host_data(box)
    [key] = known_hosts.keys_of(box.known_hosts, box.host, 22)
    pins = tmp_path / "known_hosts"
    with forwarded(box) as port:
        known_hosts.pin(pins, "127.0.0.1", port, key)
        data = own | {
            "ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_known_hosts_file": str(pins),
            "ssh_paramiko_connect_kwargs": {},
        }  # fmt: skip
        well(deploy(box, PEOPLE, data))
        assert rules(box) == ["ufw allow 22/tcp comment 'deeprig ssh 22/tcp'"]
        assert well(deploy(box, PEOPLE, data)) == []
        connection.connect(data).close()
    assert login("echo in").strip() == "in"
    assert well(deploy(box)) == []  # from beside it, the same


# sshd.


def test_who_has_a_second_factor_is_not_locked_out(
    box: boxes.Box, login: Login, said: Callable[[], str]
) -> None:
    inside(
        box,
        "echo KbdInteractiveAuthentication yes > /etc/ssh/sshd_config.d/50-own.conf; "
        "printf 'Match User ai\\nAuthenticationMethods publickey,keyboard-interactive\\n' "
        ">> /etc/ssh/sshd_config; systemctl restart ssh",
    )
    before = way_in(box)
    refused = deploy(box)
    [sentence] = refused.refusals
    assert sentence.startswith("ai would be locked out, by KbdInteractiveAuthentication no")
    assert way_in(box) == before
    assert [step for step in refused.steps if step.status == "changed"] == []
    # The way out that it names.
    inside(box, "echo KbdInteractiveAuthentication yes >> /etc/ssh/sshd_config")
    well(deploy(box))
    wanted = effective(box, "kbdinteractiveauthentication", "authenticationmethods", user="ai")
    assert set(wanted.values()) == {"yes", "publickey,keyboard-interactive"}
    assert effective(box, "kbdinteractiveauthentication") == {"kbdinteractiveauthentication": "no"}


def test_a_way_in_that_locks_the_work_user_out_is_taken_back(
    box: boxes.Box, login: Login, said: Callable[[], str]
) -> None:
    """By a file of another part of deeprig's, as if it had a fault."""
    before = way_in(box)
    shut = {"/etc/ssh/sshd_config.d/11-deeprig-caches.conf": "DenyUsers ai\n"}

    def build(rig: Rig) -> None:
        survey = base.survey(rig=rig)
        assert survey is not None
        base.have_program()
        access.change(survey=survey, rig=rig, session_files=shut)

    assert run(box.name, {**host_data(box), "rig": PEOPLE}, build).error is not None
    assert "ai would be locked out, by DenyUsers ai" in said()
    assert way_in(box) == before


def test_those_whom_the_owner_does_not_let_in_are_named(
    box: boxes.Box, said: Callable[[], str]
) -> None:
    inside(
        box, "echo AllowUsers deeprig > /etc/ssh/sshd_config.d/50-own.conf; systemctl restart ssh"
    )
    well(deploy(box))
    assert "ai cannot log in, as before, by AllowUsers deeprig" in said()
    assert effective(box, "allowusers") == {"allowusers": "deeprig"}


def test_what_the_owner_hardened_stays_as_hard(box: boxes.Box, login: Login) -> None:
    own = {
        "permitrootlogin": "no", "logingracetime": "15", "clientaliveinterval": "20",
        "clientalivecountmax": "2", "maxauthtries": "3", "allowtcpforwarding": "local",
        "allowagentforwarding": "no", "x11forwarding": "no",
        "kexalgorithms": "curve25519-sha256@libssh.org",
        "ciphers": "aes256-gcm@openssh.com,aes256-ctr", "allowgroups": "deeprig",
        "macs": "hmac-sha2-256-etm@openssh.com", "hostkeyalgorithms": "ssh-ed25519",
    }  # fmt: skip
    lines = "\n".join(f"{keyword} {value}" for keyword, value in own.items())
    inside(box, f"echo {shlex.quote(lines)} > /etc/ssh/sshd_config.d/50-own.conf")
    inside(box, "systemctl restart ssh")
    assert effective(box, *own) == own
    well(deploy(box))
    assert effective(box, *own) == own
    assert login("echo in").strip() == "in"
    inside(box, "rm /etc/ssh/sshd_config.d/50-own.conf; systemctl restart ssh")
    well(deploy(box))
    assert effective(box, "permitrootlogin") == {"permitrootlogin": "without-password"}


def test_a_file_that_lets_passwords_in_is_named(
    box: boxes.Box, login: Login, said: Callable[[], str]
) -> None:
    inside(
        box,
        "echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/05-own.conf; "
        "systemctl restart ssh",
    )
    before = way_in(box)
    refused = deploy(box)
    [sentence] = refused.refusals
    assert "/etc/ssh/sshd_config.d/05-own.conf says otherwise" in sentence
    assert way_in(box) == before
    assert [step for step in refused.steps if step.status == "changed"] == []
    inside(box, "rm /etc/ssh/sshd_config.d/05-own.conf")  # the way out that it names
    well(deploy(box))


def test_a_host_certificate_is_still_shown(box: boxes.Box, tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority], check=True)
    host_key = tmp_path / "host.pub"
    host_key.write_text(inside(box, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "box", "-h", "-n", box.host, host_key]
    subprocess.run(sign, check=True)
    certificate = (tmp_path / "host-cert.pub").read_text()
    inside(box, f"echo {shlex.quote(certificate)} > /etc/ssh/host-cert.pub; "
           "echo HostCertificate /etc/ssh/host-cert.pub > /etc/ssh/sshd_config.d/50-own.conf; "
           "systemctl restart ssh")  # fmt: skip
    pins = tmp_path / "known"
    pins.write_text(f"@cert-authority * {authority.with_suffix('.pub').read_text()}")
    command = ["ssh", "-F", "none", "-i", str(box.key), "-o", "IdentitiesOnly=yes", "-o",
               f"UserKnownHostsFile={pins}", "-o", "BatchMode=yes", "-o",
               "StrictHostKeyChecking=yes", f"deeprig@{box.host}", "echo in"]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.stdout.strip() == "in", done.stderr
        well(deploy(box))


def test_a_second_port_of_the_owners_stays_open_to_the_world_as_it_was(box: boxes.Box) -> None:
    inside(box, "printf 'Port 22\\nPort 2022\\n' >> /etc/ssh/sshd_config; systemctl restart ssh")
    well(deploy(box))
    names = [rule.rpartition("deeprig ")[2] for rule in rules(box)]
    assert names == ["ssh 22/tcp'", "ssh 2022/tcp'"]


def test_an_old_port_that_stays_open_is_said(
    box: boxes.Box, said: Callable[[], str], login: Login
) -> None:
    inside(box, "echo 'Port 22' >> /etc/ssh/sshd_config; systemctl restart ssh")
    well(deploy(box, Rig(notebook=None, firewall=None, ssh=Ssh(port=2222))))
    assert "sshd goes on listening on port 22 as well, by /etc/ssh/sshd_config:" in said()
    forget_port(box, 2222)


def forget_port(box: boxes.Box, port: int) -> None:
    """So that 22 is dialled again, where the box is put back to."""
    lines = box.known_hosts.read_text().splitlines()
    box.known_hosts.write_text("".join(f"{x}\n" for x in lines if f"]:{port}" not in x))


# systemd's socket.


@pytest.fixture
def ubuntus_socket(box: boxes.Box) -> None:
    inside(
        box,
        f"echo {shlex.quote(UBUNTUS_SOCKET)} > /etc/systemd/system/ssh.socket; "
        "systemctl disable -q --now ssh.service; systemctl daemon-reload; "
        "systemctl enable -q --now ssh.socket",
    )


@pytest.mark.usefixtures("ubuntus_socket")
def test_a_socket_as_ubuntu_has_it_moves_for_ipv4_and_ipv6(box: boxes.Box, login: Login) -> None:
    well(deploy(box, Rig(notebook=None, ssh=Ssh(port=2222))))
    assert login("echo in", port=2222).strip() == "in"
    listens = inside(box, "systemctl show -P Listen ssh.socket").split("\n")
    assert sorted(listens) == ["0.0.0.0:2222 (Stream)", "[::]:2222 (Stream)"]
    forget_port(box, 2222)


@pytest.mark.usefixtures("ubuntus_socket")
def test_a_file_that_moves_the_socket_elsewhere_is_named(box: boxes.Box, login: Login) -> None:
    inside(
        box,
        "mkdir -p /etc/systemd/system/ssh.socket.d; printf "
        "'[Socket]\\nListenStream=\\nListenStream=0.0.0.0:22\\n' "
        "> /etc/systemd/system/ssh.socket.d/override.conf; systemctl daemon-reload; "
        "systemctl stop ssh.service; systemctl restart ssh.socket",
    )
    before = way_in(box)
    report = deploy(box, Rig(notebook=None, ssh=Ssh(port=2222)))
    assert report.error is not None
    assert "/etc/systemd/system/ssh.socket.d/override.conf says" in report.steps[-1].output
    assert way_in(box) == before
    assert login("echo in").strip() == "in"


# Two at once, and a power cut.


WAY_IN_ALONE = """
from pyinfra.context import config, host
from tasks import access, base
config.SUDO = True
if survey := base.survey(rig=host.data.rig):
    base.have_program()
    access.change(survey=survey, rig=host.data.rig)
"""


def test_of_two_deploys_at_once_none_succeeds_with_what_the_other_takes_back(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    inside(box, f"ufw {OUR_NETWORK}; ufw --force enable")
    code = tmp_path / "way_in.py"
    code.write_text(WAY_IN_ALONE)
    waited = 0
    for again in range(3):
        begun = []
        for side in (1, 2):
            allowed = f'firewall=Firewall(allow=("82{again}{side}/tcp",)), notebook=Notebook('
            words = ("notebook=Notebook(", allowed), ("import ", "import Firewall, ")
            file = variant(box, tmp_path / f"inventory{side}.py", *words)
            command = [PYINFRA, "-y", str(file), str(code)]
            begun.append(
                subprocess.Popen(
                    command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            )
            time.sleep(0.3 * again)
        told = [process.communicate(timeout=400)[0] for process in begun]
        waited += sum("Another deploy is changing the way in" in text for text in told)
        assert [process.returncode for process in begun] == [0, 0], told
        assert not any("are back" in text for text in told), told
        stands = way_in(box)
        assert "Ciphers" in stands
        assert "Status: active" in stands
        assert "pending" not in stands.splitlines()
        ours = {rule.rpartition("deeprig ")[2] for rule in rules(box) if "deeprig" in rule}
        assert ours in ({f"82{again}1/tcp'"}, {f"82{again}2/tcp'"})
    assert waited  # the control: they did meet
    assert rules(box)[0] == f"ufw {OUR_NETWORK}"
    assert login("echo in").strip() == "in"


def test_an_owners_rules_are_back_after_a_power_cut_in_the_change(
    box: boxes.Box, login: Login
) -> None:
    inside(box, "ufw limit 22/tcp; ufw --force enable")
    well(deploy(box))
    before = way_in(box)
    login(
        f"sudo sh -c '{access.GUARD} begin drill && rm -f /var/lib/deeprig/firewall-before && "
        'printf "%s\\n" "ufw delete limit 22/tcp" "ufw deny 22/tcp" | '
        f"{access.GUARD} apply drill 22'"
    )
    with pytest.raises(DeeprigError):  # the control: the door really is shut
        login("true")
    boxes.cut(box.name)
    assert login("echo in").strip() == "in"
    assert way_in(box) == before


def test_the_alarm_brings_an_owners_rules_back_without_a_power_cut(
    box: boxes.Box, login: Login
) -> None:
    inside(box, "ufw allow from 198.18.86.0/24 to any port 22; ufw --force enable")
    well(deploy(box))
    before = way_in(box)
    login(
        f"sudo sh -c '{access.GUARD} begin drill && echo ufw deny 22/tcp >/dev/null && "
        f'echo "ufw --force reset; ufw --force enable" | {access.GUARD} apply drill 22\''
    )

    def in_again() -> bool:
        try:
            return login("echo in").strip() == "in"
        except DeeprigError:
            return False

    assert not in_again()
    wait_for(in_again, ALARM_SECONDS, every=5)
    # The door opens before the last of it is back.
    with suppress(AssertionError):
        wait_for(lambda: way_in(box) == before, 30, every=2)
    assert way_in(box) == before


def test_a_ufw_without_ipv6_gets_rules_for_ipv4_and_the_second_deploy_has_nothing_to_do(
    box: boxes.Box, said: Callable[[], str]
) -> None:
    inside(box, "sed -i s/^IPV6=.*/IPV6=no/ /etc/default/ufw")
    rig = Rig(notebook=Notebook(user="ai"), firewall=Firewall(allow=("8080/tcp",)))
    try:
        well(deploy(box, rig))
        assert "Only IPv4 from now on" in said()
        assert well(deploy(box, rig)) == []
    finally:
        inside(box, "sed -i s/^IPV6=.*/IPV6=yes/ /etc/default/ufw")
