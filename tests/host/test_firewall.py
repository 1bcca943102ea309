"""SSH comes in, and what the settings allow; nothing else."""

import re
from concurrent.futures import Future
from typing import Any

import pytest
from testinfra.host import Host

from deeprig.facts.survey import Survey
from deeprig.parsers import sshd, ufw
from deeprig.parsers.door import Door
from deeprig.parsers.ufw import Half
from deeprig.settings import Firewall, Rig
from deeprig.ssh import connection, dial
from tasks import firewall as firewall_task


@pytest.fixture
def firewall(rig: Rig) -> Firewall:
    if rig.firewall is None:
        pytest.skip("this box's firewall is left alone (firewall=None)")
    return rig.firewall


@pytest.mark.usefixtures("firewall")
def test_the_firewall_is_on_now_and_at_boot(host: Host) -> None:
    with host.sudo():
        assert "Status: active" in host.check_output("ufw status")
    assert host.service("ufw").is_enabled


@pytest.mark.usefixtures("firewall")
def test_what_nobody_allowed_stays_outside(
    host: Host, data: dict[str, Any], door: Door, rules: list[Half], knock: "Future[None]"
) -> None:
    if any(half.port == "any" and half.matches(door) for half in rules if half.action == "allow"):
        pytest.skip("all that comes in where we do is let in (trusted_interfaces, or the owner's)")
    way, port = connection.entry_of(data), connection.door_of(host.backend.client, data)
    if door.port != port or door.server not in dial.addresses(way, port):
        pytest.skip("something stands between, such as a router, and answers for other ports")
    dial.by(way, port, seconds=5).close()  # the control: SSH comes in
    # Dropped, not refused: a box without a firewall would answer at once that nobody listens.
    with pytest.raises(TimeoutError):
        knock.result()


@pytest.fixture
def guests(rig: Rig) -> bool:
    return bool(rig.passthrough and rig.passthrough.guest)


@pytest.fixture
def rules(host: Host, firewall: Firewall) -> list[Half]:
    """What ufw lets in or keeps out, in its order; with firewall=None it may not be there."""
    with host.sudo():
        said = host.check_output(
            f"for v in 4 $({ufw.ASK_SIX} | sed s/six/6/); do "
            "file=/etc/ufw/user${v#4}.rules; "
            '[ ! -e $file ] || sed -n "s/^### tuple ### /$v /p" $file; done'
        )
    return list(map(ufw.read, said.splitlines()))


@pytest.fixture
def sshd_ports(host: Host, ssh_port: int) -> set[int]:
    """Where sshd listens, as its owner or the settings have it."""
    with host.sudo():
        lines = host.check_output("sshd -T").splitlines()
    return {ssh_port, *sshd.ports(sshd.read(lines))}


def test_ssh_is_let_in_from_here(rules: list[Half], door: Door) -> None:
    assert ufw.admitted(door, rules)


def test_the_rules_are_those_of_the_settings(
    host: Host, rules: list[Half], firewall: Firewall, sshd_ports: set[int], guests: bool
) -> None:
    six = host.run(ufw.ASK_SIX).succeeded
    wanted = firewall_task.rules(firewall, survey=Survey(), guests=guests)
    may_be = set(wanted) | set(firewall_task.ssh_rules(sshd_ports))
    ours = {half.ours for half in rules if half.ours and "wireguard" not in half.ours}
    assert {name for name in ours - may_be if name.partition(" from ")[0] not in may_be} == set()
    lacking = {name for name, rule in wanted.items() if ufw.missing(name, rule, rules, six=six)}
    assert lacking == set()  # whether the rule that stands there is ours or the owner's


def test_nothing_but_ssh_listens_beyond_loopback(
    host: Host, rules: list[Half], sshd_ports: set[int], guests: bool
) -> None:
    with host.sudo():
        rows = host.check_output("ss -H -l -n -t").splitlines()
    addresses = [row.split()[3].rpartition(":") for row in rows]
    # libvirt answers its own guests, on their network alone.
    own = r"127\.|\[?::1|192\.168\.122\.1(%virbr0)?$" if guests else r"127\.|\[?::1"
    beyond = {int(port) for address, _, port in addresses if not re.match(own, address)}
    assert {port for port in beyond - sshd_ports if not _let_in(rules, port)} == set()


def _let_in(rules: list[Half], port: int) -> bool:
    """Whether somebody may come in there, by a rule for that port, of ours or the owner's."""
    return any(ufw.lets_in(half, port) for half in rules)
