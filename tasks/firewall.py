"""ufw, for what comes in: SSH, what the settings allow, and nothing else.

Rules that deeprig did not make are their owner's: never taken over, loosened or taken out.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from deeprig.facts.survey import Survey
from deeprig.operations.footprint import Footprint
from deeprig.operations.packages import BROUGHT
from deeprig.parsers import ufw, untrusted
from deeprig.parsers.door import Door
from deeprig.parsers.ufw import PREFIX, Half, Rule
from deeprig.settings import Firewall
from tasks import base_packages

# One line: whether ufw was on before deeprig, and its policies; the guard puts it back too.
BEFORE = "/var/lib/deeprig/firewall-before"
ASK_BEFORE = (
    f"sed -n 's/^/before /p' {BEFORE} 2>/dev/null; "
    # As earlier versions wrote it, to whom the policies were ufw's own.
    f"grep -qsx 'firewall on' {BROUGHT} && echo 'before off DROP ACCEPT DROP'"
)
POLICIES = {"DROP": "deny", "ACCEPT": "allow", "REJECT": "reject"}
CHAINS = ("incoming", "outgoing", "routed")

# Addresses and names for guests, by libvirt's dnsmasq. Where libvirt writes its rules to nftables,
# what it lets in is still dropped by ufw.
GUESTS = {
    "guest addresses": Rule("67", "udp", interface="virbr0"),
    "guest names": Rule("53", interface="virbr0"),
}

NO_SIX = "ufw, which has no IPV6=yes in /etc/default/ufw, lets no IPv6 in or out while it is on"

# What is left once the way in without it has been proved; see tasks/access.py.
FOOTPRINT = Footprint(
    packages=base_packages.UFW,
    residue_check=f"[ ! -e {BEFORE} ] || echo on; grep -sx 'firewall on' {BROUGHT}; "
    f'! command -v ufw >/dev/null || ufw show added | grep "comment \'{PREFIX}"',
    notice="what comes in from the network is no longer refused",
)


class Before(NamedTuple):
    """ufw as it was: on or off, and its policies for what comes in, goes out, passes through."""

    on: bool
    policies: tuple[str, ...]


def before(lines: Sequence[str]) -> Before | None:
    """What ASK_BEFORE printed. Raises NotSo."""
    if not lines:
        return None
    state, *policies = lines[0].split()
    if state not in ("on", "off") or len(policies) != len(CHAINS) or {*policies} - {*POLICIES}:
        raise untrusted.NotSo(f"{lines[0][:80]!r} is nothing that deeprig wrote to {BEFORE}")
    return Before(state == "on", tuple(policies))


def ssh_rules(ports: Iterable[int]) -> dict[str, Rule]:
    """The rules that let SSH in at these ports, by their names."""
    return {f"ssh {port}/tcp": Rule(str(port), "tcp") for port in ports}


def rules(settings: Firewall, *, survey: Survey, guests: bool = False) -> dict[str, Rule]:
    """Every rule that must stand beside SSH's, by its name."""
    by_name = {rule: _allow(rule) for rule in settings.allow}
    for interface in settings.trusted_interfaces:
        by_name[f"all on {interface}"] = Rule(interface=interface)
    # A WireGuard link in use must survive; it may be the way this very run comes in.
    for port in survey.wireguard_ports:
        if port != "0":
            by_name[f"wireguard {port}/udp"] = Rule(port, "udp")
    return by_name | (GUESTS if guests else {})


def needed(
    ports: Iterable[int], there: Sequence[Half], door: Door | None
) -> tuple[dict[str, Rule], set[str]]:
    """The rules without which nobody would get in from where we come, and names of those to keep.

    A rule of the owner's that lets us in is enough: one for everybody beside their `limit`, or
    beside one for their network alone, would be looser. One of ours that is there stays.
    """
    rules, kept = dict[str, Rule](), set[str]()
    for port in ports:
        [name] = ssh_rules([port])
        ours = {half.ours for half in there if half.ours.partition(" from ")[0] == name}
        kept |= ours
        staying = [half for half in there if not half.ours or half.ours in ours]
        if door and ufw.admitted(door._replace(port=port), staying):
            continue
        rules |= _as_before(port, [half for half in staying if not half.ours], door)
    return rules, kept


def _as_before(port: int, owners: Sequence[Half], door: Door | None) -> dict[str, Rule]:
    """SSH's rules for a port: as narrow as the owner's for the port that it had until now."""
    [(name, plain)] = ssh_rules([port]).items()
    if not door or door.port == port or not ufw.admitted(door, owners):
        return {name: plain}
    rules = {}
    for half in filter(lambda half: ufw.lets_in(half, door.port), owners):
        source = "" if half.source in ufw.ANYWHERE else half.source
        rule = Rule(str(port), "tcp", source, half.way.partition("_")[2], ufw.action(half))
        rules[f"{name} from {source}" if source else name] = rule
    return rules or {name: plain}


def on(wanted: dict[str, Rule], now: "Now", kept: Iterable[str] = ()) -> list[str]:
    """The commands after which these rules of ours stand, those kept, no other, and ufw is on."""
    stale = [half for half in now.rules if half.ours and half.ours not in {*wanted, *kept}]
    staying = [half for half in now.rules if half not in stale]
    added = [
        cmd
        for name, rule in wanted.items()
        for cmd in ufw.missing(name, rule, staying, six=now.six)
    ]
    return [*map(ufw.removal, stale), *added, *_switch_on(now)]


def shut_by_six(now: "Now", door: Door | None) -> list[str]:
    """Why nobody would come in where we do: ufw without IPv6 lets none of it through."""
    if now.six or not door or ipaddress.ip_address(door.client).version == 4:
        return []
    return [f"We come in by IPv6, and {NO_SIX}; write IPV6=yes there, or set firewall=None."]


def six_shut_off(now: "Now") -> list[str]:
    """What to say where switching the firewall on ends IPv6."""
    if now.six or now.firewall_on:
        return []
    return [f"Only IPv4 from now on: {NO_SIX}; write IPV6=yes there if somebody needs IPv6."]


def guests_shut_off(wanted: dict[str, Rule], now: "Now") -> list[str]:
    """What to say where the owner's ufw lets nothing pass through and guests are to have it."""
    if not (now.firewall_on and now.policies[2:] != ("ACCEPT",) and {*GUESTS} & {*wanted}):
        return []
    return [
        "ufw lets nothing pass through the box, which was so before deeprig and stays: guests do "
        "not reach the network; `sudo ufw route allow in on virbr0` lets them."
    ]


def off(now: "Now", door: Door | None) -> tuple[list[str], list[str]]:
    """The commands after which nothing of ours is in ufw, and what to say of it.

    Where ufw was on before deeprig it stays on, and somebody has to get in: a rule of ours that
    nothing of the owner's replaces is handed over.
    """
    ours = [half for half in now.rules if half.ours]
    commands, sentences = [], []
    stays_on = now.firewall_on and not (now.before and not now.before.on)
    if stays_on and door and not ufw.admitted(door, [h for h in now.rules if not h.ours]):
        names = sorted({h.ours for h in ours if h.matches(door)}, key=lambda n: n[:4] != "ssh ")
        kept = [half for half in ours if half.ours in names[:1]]
        ours = [half for half in ours if half not in kept]
        # ufw's own way to take a comment away; the rule is then as if its owner had typed it.
        commands += [f"ufw {half.words} comment ''" for half in kept]
        if kept:
            sentences = [
                "The firewall was on before deeprig and stays on; the rule that lets you in "
                f"({kept[0].words}) is yours now."
            ]
    commands += map(ufw.removal, ours)
    if now.before and not now.before.on:
        commands.append("ufw --force disable")
    if now.before:
        commands += [
            f"ufw default {POLICIES[was]} {chain}"
            for was, policy, chain in zip(now.before.policies, now.policies, CHAINS, strict=False)
            if was != policy
        ]
        commands.append(
            f"rm -f {BEFORE}; [ ! -e {BROUGHT} ] || sed -i '/^firewall on$/d' {BROUGHT}"
        )
    return commands, sentences


class Now(NamedTuple):
    """ufw as it is; `six` is whether it does IPv6."""

    rules: tuple[Half, ...]
    policies: tuple[str, ...]
    firewall_on: bool
    before: Before | None
    six: bool = True


def _switch_on(now: Now) -> list[str]:
    """Refuse what comes in; the rest as its owner has it, where ufw was on.

    Where it was off, forwarding is left open: Docker, libvirt and WireGuard decide there, and
    ufw's default would cut their guests off.
    """
    # A ufw that was not there a moment ago has its package's policies.
    policies = now.policies or ("DROP", "ACCEPT", "DROP")
    shuts = policies[0] in ("DROP", "REJECT")
    if now.firewall_on and shuts:
        return []
    state = "on" if now.firewall_on else "off"
    known = f"[ -e {BEFORE} ] || echo {state} {' '.join(policies)} > {BEFORE}"
    shut = [] if shuts else ["ufw default deny incoming"]
    if now.firewall_on:
        return [known, *shut]
    return [
        known, *shut, "ufw default allow outgoing", "ufw default allow routed",
        "ufw --force enable",
    ]  # fmt: skip


def _allow(rule: str) -> Rule:
    ports, _, source = rule.partition(" from ")
    number, _, protocol = ports.partition("/")
    return Rule(number, protocol or "any", source)
