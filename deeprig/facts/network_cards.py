"""The network cards of a box, and which of them a magic packet is to wake it through."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_interface
from pathlib import Path

from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.settings import WakeOnLan

DROP_IN = "50-deeprig-wake-on-lan.conf"

SCRIPT = (Path(__file__).parent / "network_cards.sh").read_text()

_kind = untrusted.parser("kind of network card", "wired|wireless|virtual", 8)
_wakes = untrusted.parser("way to wake a card", "[pumbagsfd]+", 9)
_link_file = untrusted.parser(".link file", r"(/[\w.@+:-]+)+\.link|", 300)
_armed_by = untrusted.parser(
    "addition of ours to a .link file", rf"/etc/systemd/network/[\w.@+:-]+\.link\.d/{DROP_IN}", 300
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """A network card. `wakes` is what ethtool calls `Supports Wake-on`, empty if not known.

    `kind` is wired, wireless or virtual; `below` names the cards that a bridge, a bond or a VLAN
    stands on; `link_file` is the file by which udev set it up; `manager` is who configures it.
    """

    name: str
    mac: str
    kind: str = "wired"
    link_file: str = ""
    manager: str = ""
    wakes: str = ""
    below: tuple[str, ...] = ()

    @property
    def can_wake(self) -> bool:
        """Whether it says that a magic packet can wake the box; True too where nobody can tell."""
        return not self.wakes or "g" in self.wakes


@dataclass(frozen=True, kw_only=True)
class Network:
    """All cards but loopback, and what decides how one of them is armed.

    `addresses` has the IPv4 addresses, each with its card: ("br0", "192.168.1.20/24").
    """

    cards: tuple[Card, ...] = ()
    routes: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    armed_by: tuple[str, ...] = ()
    network_manager: bool = False
    tlp: bool = False

    def card(self, *, name: str | None = None, mac: str | None = None) -> Card | None:
        return next((card for card in self.cards if name == card.name or mac == card.mac), None)


def read(found: dict[str, list[str]]) -> Network:
    """The cards in the lines that SCRIPT printed, `found[key]` holding the values of a key.

    Raises NotSo for what no card could be.
    """
    wakes = {name: _wakes(kinds) for name, kinds in _of_cards(found.get("wakes", []))}
    below: dict[str, list[str]] = {}
    for upper, lower in _of_cards(found.get("below", [])):
        below.setdefault(upper, []).append(untrusted.interface(lower))
    return Network(
        cards=tuple(_card(line, wakes, below) for line in found.get("card", [])),
        routes=tuple(map(untrusted.interface, found.get("route", []))),
        addresses=tuple((name, _address(ip)) for name, ip in _of_cards(found.get("ipv4", []))),
        armed_by=tuple(map(_armed_by, found.get("armed_by", []))),
        network_manager=bool(found.get("network_manager")),
        tlp=bool(found.get("tlp")),
    )


def _card(line: str, wakes: dict[str, str], below: dict[str, list[str]]) -> Card:
    cells = line.split("|")
    if len(cells) != 5:
        raise NotSo(f"{line[:80]!r} is no network card")
    name, mac, kind, link_file, manager = cells
    return Card(
        name=untrusted.interface(name),
        mac=untrusted.link_address(mac),
        kind=_kind(kind),
        link_file=_link_file(link_file),
        manager=untrusted.words(manager),
        wakes=wakes.get(name, ""),
        below=tuple(below.get(name, [])),
    )


def _of_cards(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    """What is said of each card: its name, and the rest of the line."""
    return [
        (untrusted.interface(name), rest) for name, _, rest in (a.partition(" ") for a in lines)
    ]


def _address(text: str) -> str:
    try:
        return str(IPv4Interface(text))
    except ValueError:
        raise NotSo(f"{text[:80]!r} is no IPv4 address") from None


def chosen(network: Network, settings: WakeOnLan) -> Card | None:
    """The card to arm; None where nothing is named and the box has no card of its own."""
    if settings.interface or settings.mac:
        named = network.card(name=settings.interface, mac=settings.mac)
        return (_below(network, named) or named) if named else None
    ways = (_below(network, network.card(name=route)) for route in network.routes)
    routed = [card for card in ways if card]
    # Of two ways out the one by Wi-Fi may be the first, and no packet wakes a box through that.
    for card in sorted(routed, key=lambda card: card.kind == "wireless"):
        return card
    # The default route of a VPN says nothing of the card that carries it.
    wired = [card for card in network.cards if card.kind == "wired"]
    return wired[0] if len(wired) == 1 else None


def lan(network: Network, card: Card) -> str:
    """The IPv4 network whose broadcasts reach the card, 192.168.1.0/24 for one; empty if none."""
    for name, address in network.addresses:
        subnet = ip_interface(address).network
        holder = network.card(name=name)
        if subnet.num_addresses > 2 and card in (holder, _below(network, holder)):
            return str(subnet)
    return ""


def left_out(card: Card, settings: WakeOnLan) -> str:
    """Why this card is not armed, in a sentence; empty where it is, and where it was named.

    A card that was named is armed for all it says itself: some say less than they can.
    """
    if settings.interface or settings.mac:
        return ""
    if card.kind == "wireless":
        return (
            f"Wake-on-LAN is left out: {card.name} is Wi-Fi, and no packet wakes a box through "
            "that; WakeOnLan(interface=) names a card with a cable."
        )
    if not card.can_wake:
        return (
            f"Wake-on-LAN is left out: {card.name} cannot wake the box, it supports "
            f"{card.wakes!r} and 'g' is needed; WakeOnLan(interface=) names another card."
        )
    return ""


def drop_in(card: Card) -> str:
    """The path of our addition to the .link file that wins; empty where udev applies none."""
    winner = card.link_file.rpartition("/")[2]
    return f"/etc/systemd/network/{winner}.d/{DROP_IN}" if winner else ""


def objections(network: Network, settings: WakeOnLan | None) -> list[str]:
    """Why the card that the settings name cannot be armed, one sentence with the way out."""
    if settings is None:
        return []
    by_name = network.card(name=settings.interface) if settings.interface else None
    by_mac = network.card(mac=settings.mac) if settings.mac else None
    for setting, value, card in (
        ("interface", settings.interface, by_name),
        ("mac", settings.mac, by_mac),
    ):
        if value and card is None:
            cards = ", ".join(f"{c.name} ({c.mac})" for c in _worth_naming(network)) or "none"
            return [f"WakeOnLan.{setting} is {value!r}, which is no card of this box: {cards}."]
    if by_name and by_mac and by_name.mac != by_mac.mac:
        return [
            f"WakeOnLan.interface is {by_name.name!r} and WakeOnLan.mac is {by_mac.mac!r}, which "
            f"is {by_mac.name}'s; leave one of them out."
        ]
    named = by_name or by_mac
    if named and named.kind == "wireless":
        return [
            f"WakeOnLan names {named.name}, which is Wi-Fi, and no packet wakes a box through "
            "that; name a card with a cable, or set wake_on_lan=None."
        ]
    return []


def _below(network: Network, card: Card | None) -> Card | None:
    """The card with a plug or an antenna that this one is, or stands on."""
    if card is None or card.kind != "virtual":
        return card
    for name in card.below:
        if lower := _below(network, network.card(name=name)):
            return lower
    return None


def _worth_naming(network: Network) -> list[Card]:
    wired = [card for card in network.cards if card.kind == "wired"]
    return wired or list(network.cards)
