"""ufw's rules as it keeps them: whose they are, whom they let in, and the words that make them."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from deeprig.parsers import untrusted
from deeprig.parsers.door import Door

# Every rule of ours carries its own name behind this, in its comment; all others are their owner's.
PREFIX = "deeprig "
ANYWHERE = ("0.0.0.0/0", "::/0")  # as ufw writes it in its two files
# Prints something where ufw does IPv6, by its own rule (ufw's backend.py, use_ipv6). Where it does
# not it takes no such rule, and while it is on no IPv6 comes or goes.
ASK_SIX = "grep -qsiE '^IPV6=.?yes' /etc/default/ufw && [ -e /proc/sys/net/ipv6 ] && echo six"

_word = untrusted.parser("word of a ufw rule", r"[\w.:/,!+-]+", 200)


class Half(NamedTuple):
    """One rule for IPv4 or IPv6; what a person types makes both, unless it names an address."""

    six: bool
    action: str
    protocol: str
    port: str
    to: str
    source_port: str
    source: str
    way: str
    app: str = ""
    comment: str = ""

    @property
    def ours(self) -> str:
        """The name of a rule of ours; empty for one of somebody else's."""
        return self.comment.removeprefix(PREFIX) if self.comment.startswith(PREFIX) else ""

    @property
    def place(self) -> "Half":
        """What ufw tells rules apart by: of two with one place, the later takes the other's."""
        return self._replace(action="", comment="")

    @property
    def words(self) -> str:
        """How `ufw` is told of this half alone."""
        return _words(self, self.source, self.to)

    def matches(self, door: Door) -> bool:
        """Whether it decides on a TCP connection to this door."""
        if self.six is not (ipaddress.ip_address(door.client).version == 6):
            return False
        return (
            self.way in ("in", f"in_{door.interface}")
            and self.protocol in ("tcp", "any")
            and _has(self.port, door.port)
            and self.source_port == "any"
            and _within(door.client, self.source)
            and _within(door.server, self.to)
        )


class Rule(NamedTuple):
    """A rule that deeprig wants: what it lets in, from everywhere or one source, on any card."""

    port: str = "any"
    protocol: str = "any"
    source: str = ""
    interface: str = ""
    action: str = "allow"

    def halves(self) -> list[Half]:
        """What ufw would keep of it."""
        way = f"in_{self.interface}" if self.interface else "in"
        source = _as_ufw_writes(self.source) if self.source else ""
        return [
            Half(bool(six), self.action, self.protocol, self.port, all_, "any", source or all_, way)
            for six, all_ in enumerate(ANYWHERE)
            if not source or (":" in source) is bool(six)
        ]


def read(line: str) -> Half:
    """A line `4 allow tcp 22 ...` or `6 ...`, as AccessState prints them. Raises NotSo."""
    words = line.split(" ")
    comment = words.pop().removeprefix("comment=") if "comment=" in words[-1] else ""
    if len(words) not in (8, 10) or words[0] not in "46":
        raise untrusted.NotSo(f"{line[:80]!r} is no rule of ufw")
    family, action, protocol, port, to, source_port, source, *app, way = map(_word, words)
    remark = bytes.fromhex(comment).decode(errors="replace")
    return Half(family == "6", action, protocol, port, to, source_port, source, way,
                " ".join(app), remark)  # fmt: skip


def missing(name: str, rule: Rule, there: Sequence[Half], *, six: bool = True) -> list[str]:
    """The ufw commands that add what is not there of a rule; what is an owner's stays theirs.

    `six` is whether this ufw does IPv6.
    """
    taken = {half.place for half in there}
    absent = [h for h in rule.halves() if h.place not in taken and (six or not h.six)]
    if len(absent) == len(ANYWHERE):  # both in one command
        absent = [absent[0]._replace(source="any", to="any")]
    comment = f"comment '{PREFIX}{name}'"
    return [f"ufw {half.words} {comment}" for half in absent]


def against(rule: Rule, there: Iterable[Half]) -> list[Half]:
    """Rules of an owner's that stand where this one would, and say something else."""
    places = {half.place for half in rule.halves()}
    return [
        half
        for half in there
        if not half.ours and half.place in places and action(half) != rule.action
    ]


def action(half: Half) -> str:
    """What it does, without what it logs."""
    return half.action.split("_")[0]


def lets_in(half: Half, port: int) -> bool:
    """Whether it is there to let somebody in at this TCP port."""
    return (
        half.way.startswith("in")
        and action(half) in ("allow", "limit")
        and half.protocol in ("tcp", "any")
        and half.port != "any"
        and _has(half.port, port)
    )


def removal(half: Half) -> str:
    """The command that takes this half of a rule out, and no other."""
    route, _, bare = half.action.rpartition(":")
    told = half._replace(action=bare)
    return f"ufw {'route delete' if route else 'delete'} {told.words}"


def admitted(door: Door, rules: Iterable[Half]) -> bool:
    """Whether the first of these rules that decides on this connection lets it in."""
    for half in rules:
        if half.matches(door):
            return action(half) in ("allow", "limit")
    return False


def _words(half: Half, source: str, to: str) -> str:
    direction, _, interface = half.way.partition("_")
    on = f" on {interface}" if interface else ""
    protocol = "" if half.protocol == "any" else f" proto {half.protocol}"
    port = "" if half.port == "any" else f" port {half.port}"
    return f"{half.action} {direction}{on}{protocol} from {source} to {to}{port}"


def _as_ufw_writes(source: str) -> str:
    network = ipaddress.ip_network(source, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _has(ports: str, port: int) -> bool:
    """Whether ufw's word for ports, such as `80,6000:6010`, has this one in it."""
    if ports == "any":
        return True
    spans = [re.fullmatch(r"(\d+)(?::(\d+))?", part) for part in ports.split(",")]
    return any(s and int(s[1]) <= port <= int(s[2] or s[1]) for s in spans)


def _within(address: str, network: str) -> bool:
    return network == "any" or ipaddress.ip_address(address) in ipaddress.ip_network(network)
