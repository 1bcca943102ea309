"""SSH comes in, and what the settings allow; nothing else."""

import re
from concurrent.futures import Future
from typing import Any

import pytest
from testinfra.host import Host

from deeprig import connection, dial
from deeprig.settings import Firewall, Rig
from tasks.firewall import GUESTS


@pytest.fixture
def firewall(rig: Rig) -> Firewall:
    if rig.firewall is None:
        pytest.skip("this box's firewall is left alone (firewall=None)")
    return rig.firewall


@pytest.fixture
def ssh_port(rig: Rig, data: dict[str, Any]) -> int:
    return int(rig.ssh.port or data["ssh_port"])


@pytest.mark.usefixtures("firewall")
def test_the_firewall_is_on_now_and_at_boot(host: Host) -> None:
    with host.sudo():
        assert "Status: active" in host.check_output("ufw status")
    assert host.service("ufw").is_enabled


@pytest.mark.usefixtures("firewall")
def test_what_nobody_allowed_stays_outside(
    data: dict[str, Any], ssh_port: int, knock: "Future[None]"
) -> None:
    dial.by(connection.entry_of(data), ssh_port, seconds=5).close()  # the control: SSH comes in
    # Dropped, not refused: a box without a firewall would answer at once that nobody listens.
    with pytest.raises(TimeoutError):
        knock.result()


@pytest.fixture
def guests(rig: Rig) -> bool:
    return bool(rig.passthrough and rig.passthrough.guest)


def test_the_rules_are_those_of_the_settings(
    host: Host, firewall: Firewall, ssh_port: int, guests: bool
) -> None:
    with host.sudo():
        said = host.check_output("ufw status")
    names = {name for name in re.findall(r"# deeprig (.*)", said) if "wireguard" not in name}
    interfaces = {f"all on {name}" for name in firewall.trusted_interfaces}
    assert names == {
        f"ssh {ssh_port}/tcp", *firewall.allow, *interfaces, *(GUESTS if guests else ())
    }  # fmt: skip


def test_nothing_but_ssh_listens_beyond_loopback(
    host: Host, firewall: Firewall, ssh_port: int, guests: bool
) -> None:
    allowed = {ssh_port, *(int(re.split(r"[/: ]", rule)[0]) for rule in firewall.allow)}
    with host.sudo():
        rows = host.check_output("ss -H -l -n -t").splitlines()
    addresses = [row.split()[3].rpartition(":") for row in rows]
    # libvirt answers its own guests, on their network alone.
    own = r"127\.|\[?::1|192\.168\.122\.1(%virbr0)?$" if guests else r"127\.|\[?::1"
    beyond = {int(port) for address, _, port in addresses if not re.match(own, address)}
    assert beyond <= allowed
