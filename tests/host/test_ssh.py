"""Keys open the door, passwords do not, and tunnels go through it."""

from collections.abc import Callable

import pytest
from testinfra.host import Host

from deeprig.parsers.door import Door
from deeprig.settings import Rig
from tests.host.newcomer import Login, Stranger

POST_QUANTUM = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
)


@pytest.fixture
def sshd(host: Host) -> dict[str, str]:
    """What sshd says its settings are, whatever its files say."""
    with host.sudo():
        lines = host.check_output("sshd -T").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def test_only_a_key_opens_the_door(stranger: Stranger) -> None:
    assert stranger.wanted == ("publickey",)
    assert stranger.is_authenticated()  # the control: the key does


def test_a_password_login_is_off_for_everybody(sshd: dict[str, str]) -> None:
    assert sshd["passwordauthentication"] == "no"
    assert sshd["kbdinteractiveauthentication"] == "no"
    assert sshd["pubkeyauthentication"] == "yes"  # the control: the other door is open


def test_root_has_no_password_login(sshd: dict[str, str]) -> None:
    assert sshd["permitrootlogin"] in ("no", "without-password", "prohibit-password")


def test_sshd_listens_where_the_settings_say(host: Host, ssh_port: int) -> None:
    rows = host.check_output("ss -H -l -n -t").splitlines()
    assert ssh_port in {int(row.split()[3].rpartition(":")[2]) for row in rows}


@pytest.mark.remedy("take the other `Port` lines out of /etc/ssh/sshd_config and its folder")
def test_sshd_listens_on_no_other_port(host: Host, rig: Rig) -> None:
    if rig.ssh.port is None:
        pytest.skip("the settings name no port (Ssh.port); sshd listens where it did")
    if host.service("ssh.socket").is_enabled:
        said = host.check_output("systemctl show -P Listen ssh.socket").splitlines()
        ports = {line.split()[0].rpartition(":")[2] for line in said}
    else:
        with host.sudo():
            lines = host.check_output("sshd -T").splitlines()
        ports = {line.split()[1] for line in lines if line.startswith("port ")}
    assert ports == {str(rig.ssh.port)}


def test_sshd_comes_back_after_a_reboot(host: Host) -> None:
    assert host.service("ssh.socket").is_enabled or host.service("ssh").is_enabled


def test_the_key_exchange_is_post_quantum_first(sshd: dict[str, str]) -> None:
    assert sshd["kexalgorithms"].split(",")[0] in POST_QUANTUM


def test_weak_algorithms_are_not_offered(sshd: dict[str, str]) -> None:
    offered = ",".join(
        sshd[name] for name in ("kexalgorithms", "ciphers", "macs", "hostkeyalgorithms")
    )
    weak = [
        name for name in offered.split(",") if "sha1" in name or "nistp" in name or "cbc" in name
    ]
    assert weak == []


@pytest.mark.remedy(
    "take `AllowTcpForwarding` out of /etc/ssh/sshd_config and its folder: the notebook is reached "
    "through a tunnel"
)
def test_a_tunnel_to_any_port_goes_through(door: Door, login: Login) -> None:
    transport = login().get_transport()
    assert transport is not None
    with transport.open_channel(
        "direct-tcpip", ("127.0.0.1", door.port), ("127.0.0.1", 0), timeout=10
    ) as tunnel:
        assert tunnel.recv(4) == b"SSH-"


def test_agents_may_be_forwarded(sshd: dict[str, str], warn: Callable[[str], None]) -> None:
    if sshd["allowagentforwarding"] != "yes":  # deeprig writes no such line
        warn("a file of yours in /etc/ssh says `AllowAgentForwarding no`: no agent is forwarded")


def test_no_change_of_the_way_in_waits_for_its_proof(host: Host) -> None:
    with host.sudo():
        assert not host.file("/var/lib/deeprig/access/pending").exists
    assert not host.service("deeprig-access-revert.timer").is_running


def test_a_power_cut_in_a_change_would_be_undone_at_boot(host: Host) -> None:
    assert host.service("deeprig-access-boot.service").is_enabled


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_host_keys_are_private(host: Host, kind: str) -> None:
    key = host.file(f"/etc/ssh/ssh_host_{kind}_key")
    if not key.exists:
        pytest.skip(f"the box has no {kind} host key")
    assert (key.user, key.mode) == ("root", 0o600)
