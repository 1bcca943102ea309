"""Whose ufw's rules are, and whom they let in; the lines are ufw 0.36.2's own."""

import pytest

from deeprig.facts.survey import Survey
from deeprig.parsers import ufw
from deeprig.parsers.door import Door
from deeprig.parsers.ufw import Half, Rule
from deeprig.parsers.untrusted import NotSo
from deeprig.settings import Passthrough, Rig
from tasks import access, firewall
from tasks.firewall import Before, Now

LAN = Door("192.168.1.5", "192.168.1.9", 22, "eth0")
FAR = LAN._replace(client="203.0.113.7")
SIX = Door("2001:db8::5", "2001:db8::9", 22, "eth0")
SSH = firewall.ssh_rules([22])
OURS = "comment=6465657072696720737368203232 2f746370".replace(" ", "")  # deeprig ssh 22/tcp


def halves(*lines: str) -> tuple[Half, ...]:
    return tuple(map(ufw.read, lines))


ALLOWED = halves("4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "6 allow tcp 22 ::/0 any ::/0 in")
LIMITED = halves("4 limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "6 limit tcp 22 ::/0 any ::/0 in")
FROM_LAN = halves("4 allow any 22 0.0.0.0/0 any 192.168.1.0/24 in")
OWN = halves(f"4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in {OURS}",
             f"6 allow tcp 22 ::/0 any ::/0 in {OURS}")  # fmt: skip


def now(rules: tuple[Half, ...] = (), on: bool = True, before: Before | None = None) -> Now:
    return Now(rules, ("DROP", "ACCEPT", "DROP"), on, before)


@pytest.mark.parametrize(
    ("rules", "door", "in_"),
    [
        (ALLOWED, LAN, True),
        (ALLOWED, SIX, True),
        (ALLOWED[:1], SIX, False),
        (LIMITED, FAR, True),
        (FROM_LAN, LAN, True),
        (FROM_LAN, FAR, False),
        (halves("4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in"), FAR, True),
        (halves("4 allow tcp 20:25,80 0.0.0.0/0 any 0.0.0.0/0 in"), FAR, True),
        (halves("4 allow udp 22 0.0.0.0/0 any 0.0.0.0/0 in"), FAR, False),
        (halves("4 allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0"), FAR, True),
        (halves("4 allow any any 0.0.0.0/0 any 0.0.0.0/0 in_wg0"), FAR, False),
        (halves("4 allow tcp 22 192.168.1.9 any 0.0.0.0/0 in"), FAR, True),
        (halves("4 allow tcp 22 192.168.1.8 any 0.0.0.0/0 in"), FAR, False),
        (halves("4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 out"), FAR, False),
        (halves("4 route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0"), FAR, False),
        (halves("4 limit_log tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"), FAR, True),
        ((*halves("4 deny any any 0.0.0.0/0 any 203.0.113.0/24 in"), *ALLOWED), FAR, False),
        ((), LAN, False),
    ],
)
def test_the_first_rule_that_fits_decides(rules: tuple[Half, ...], door: Door, in_: bool) -> None:
    assert ufw.admitted(door, rules) is in_


def told(there: tuple[Half, ...], door: Door, port: int = 22) -> list[str]:
    """What ufw is told so that SSH comes in at a port."""
    wanted, kept = firewall.needed([port], there, door)
    return firewall.on(wanted, now(there), kept)


@pytest.mark.parametrize("owners", [ALLOWED, LIMITED, FROM_LAN])
def test_a_rule_of_the_owners_that_lets_us_in_is_enough(owners: tuple[Half, ...]) -> None:
    assert told(owners, LAN) == []


def test_one_that_does_not_gets_ours_beside_it() -> None:
    ours = "ufw allow in proto tcp from any to any port 22 comment 'deeprig ssh 22/tcp'"
    assert told(FROM_LAN, FAR) == [ours]
    assert told((*OWN, *FROM_LAN), LAN) == []  # it stays for others
    on_card = halves("4 allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0 comment=64656570726967206f6e")
    assert told(on_card, LAN)[-1] == ours  # that one of ours goes in the same breath


def test_a_port_that_moves_is_as_narrow_as_the_old_one() -> None:
    assert told(FROM_LAN, LAN, 2222) == [
        "ufw allow in proto tcp from 192.168.1.0/24 to 0.0.0.0/0 port 2222 "
        "comment 'deeprig ssh 2222/tcp from 192.168.1.0/24'"
    ]
    assert told(LIMITED, LAN, 2222) == [
        "ufw limit in proto tcp from any to any port 2222 comment 'deeprig ssh 2222/tcp'"
    ]
    name = b"deeprig ssh 2222/tcp from 192.168.1.0/24".hex()
    moved = halves(f"4 allow tcp 2222 0.0.0.0/0 any 192.168.1.0/24 in comment={name}")
    assert told((*FROM_LAN, *moved), LAN._replace(port=2222), 2222) == []


def test_a_rule_of_the_owners_in_the_same_place_is_never_taken_over() -> None:
    assert ufw.missing("22/tcp", Rule("22", "tcp"), ALLOWED) == []
    assert ufw.missing("22/tcp", Rule("22", "tcp"), ALLOWED[1:]) == [
        "ufw allow in proto tcp from 0.0.0.0/0 to 0.0.0.0/0 port 22 comment 'deeprig 22/tcp'"
    ]
    refused = halves("4 deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in")
    assert ufw.against(Rule("22", "tcp"), refused) == list(refused)
    assert ufw.against(Rule("22", "tcp"), [*ALLOWED, *OWN]) == []


def test_a_ufw_without_ipv6_is_told_of_ipv4_alone() -> None:
    # IPV6=no; ufw ends with an error for the other half, so that each later deploy would.
    wanted = {"8080/tcp": Rule("8080", "tcp")}
    four = halves(
        "4 allow tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in comment=6465657072696720383038302f746370"
    )
    without = now(four)._replace(six=False)
    assert firewall.on(wanted, without) == []
    assert firewall.on(wanted, now(four)) != []
    assert firewall.on(wanted, now()._replace(six=False)) == [
        "ufw allow in proto tcp from 0.0.0.0/0 to 0.0.0.0/0 port 8080 comment 'deeprig 8080/tcp'"
    ]


def test_whoever_comes_by_ipv6_is_not_shut_out_by_a_ufw_without() -> None:
    # https://github.com/buildplan/du_setup/pull/53
    without = now(on=False)._replace(six=False)
    [sentence] = firewall.shut_by_six(without, SIX)
    assert "IPV6=yes" in sentence
    assert firewall.shut_by_six(without, LAN) == firewall.shut_by_six(now(), SIX) == []
    [line] = firewall.six_shut_off(without)
    assert "IPV6=yes" in line
    assert firewall.six_shut_off(without._replace(firewall_on=True)) == []


def test_what_is_left_out_of_the_settings_goes_and_the_owners_stays() -> None:
    there = (*OWN, *halves("4 allow tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in"))
    assert firewall.on({}, now(there)) == [
        "ufw delete allow in proto tcp from 0.0.0.0/0 to 0.0.0.0/0 port 22",
        "ufw delete allow in proto tcp from ::/0 to ::/0 port 22",
    ]


def test_a_name_that_goes_leaves_its_place_to_another() -> None:
    commands = firewall.on({"22/tcp": Rule("22", "tcp")}, now(OWN))
    assert commands[-1].startswith("ufw allow in proto tcp from any to any port 22")
    assert all("delete" in command for command in commands[:-1])


def test_a_firewall_that_deeprig_switched_on_goes_off_and_its_policies_back() -> None:
    there = Now(OWN, ("DROP", "ACCEPT", "ACCEPT"), True, Before(False, ("DROP", "ACCEPT", "DROP")))
    commands, said = firewall.off(there, LAN)
    assert said == []
    assert "ufw --force disable" in commands
    assert "ufw default deny routed" in commands
    assert firewall.BEFORE in commands[-1]


def test_a_firewall_that_was_on_stays_on_and_somebody_gets_in() -> None:
    commands, said = firewall.off(now(OWN), LAN)
    assert commands == [f"ufw {half.words} comment ''" for half in OWN]
    assert "is yours now" in said[0]
    commands, said = firewall.off(now((*LIMITED, *OWN)), LAN)
    assert commands == [ufw.removal(half) for half in OWN]
    assert said == []


def test_an_owners_policies_are_not_loosened() -> None:
    strict = Now(OWN, ("REJECT", "DROP", "DROP"), True, None)
    assert firewall.on(SSH, strict) == []
    open_ = Now(OWN, ("ACCEPT", "DROP", "DROP"), True, None)
    assert firewall.on(SSH, open_)[1:] == ["ufw default deny incoming"]


@pytest.mark.parametrize("line", ["4 allow tcp 22", "5 a b c d e f g", "4 a b;c d e f g h", "4"])
def test_what_is_no_rule_is_refused(line: str) -> None:
    with pytest.raises(NotSo):
        ufw.read(line)


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        (Rig(), True),  # passthrough=None leaves it alone, its guest too
        (Rig(absent={"passthrough"}), False),
        (Rig(passthrough=Passthrough(gpus=("0000:01:00.0",), guest=None)), False),
    ],
)
def test_a_guests_rules_stay_where_passthrough_is_left_alone(settings: Rig, stays: bool) -> None:
    wall = access._wall(settings, Survey())
    assert wall is not None
    assert wall.rules == {}
    name = b"deeprig guest names".hex()
    there = now(halves(f"4 allow any 53 0.0.0.0/0 any 0.0.0.0/0 in_virbr0 comment={name}"))
    assert there.rules[0].ours == "guest names"  # the control
    taken = firewall.on(wall.rules, there, wall.left)
    assert any("delete" in command for command in taken) is not stays
