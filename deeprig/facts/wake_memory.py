"""How to wake each box, remembered beside known_hosts: a box that is off cannot be asked."""

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, NamedTuple

from deeprig.errors import DeeprigError
from deeprig.facts import network_cards
from deeprig.facts.network_cards import Network
from deeprig.local_files import alone, write
from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.settings import WakeOnLan
from deeprig.ssh import connection
from deeprig.ssh.known_hosts import label

FILE = "wake_on_lan.json"


class WakeTarget(NamedTuple):
    """The armed card's address, and the IPv4 network it is in; that is empty if not known."""

    mac: str
    lan: str = ""


def parsed(mac: object, lan: object) -> WakeTarget:
    """As a box said it, or this file that keeps what a box said. Raises NotSo."""
    try:
        return WakeTarget(untrusted.mac(str(mac)), str(IPv4Network(str(lan))) if lan else "")
    except ValueError:
        raise NotSo(f"{str(lan)[:80]!r} is no IPv4 network") from None


def of(network: Network, settings: WakeOnLan | None) -> WakeTarget | None:
    """What there is to remember of a box with these cards; None where no packet wakes it."""
    card = network_cards.chosen(network, settings) if settings else None
    if settings is None or card is None or network_cards.left_out(card, settings):
        return None
    if not untrusted.fits(untrusted.mac, card.mac):
        return None  # no Ethernet: InfiniBand and tunnels know no magic packet
    return parsed(card.mac, network_cards.lan(network, card))


def file_of(host_data: dict[str, Any]) -> Path:
    """Where it is kept for a box of the inventory."""
    return connection.pins_of(host_data).with_name(FILE)


def name_of(host_data: dict[str, Any]) -> str:
    """Whose it is: several boxes may have one name, behind a router, each with a port there."""
    port = int(host_data.get("bootstrap_port") or host_data.get("ssh_port") or 22)
    return label(str(host_data["ssh_hostname"]), port)


def find(file: Path, name: str) -> WakeTarget | None:
    """What is remembered of a box. Raises DeeprigError where the file cannot be read."""
    try:
        entry = json.loads(file.read_text())[name]
        return parsed(entry["mac"], entry["lan"])
    except (FileNotFoundError, KeyError):
        return None
    except (OSError, ValueError, TypeError, RecursionError, NotSo) as error:
        raise DeeprigError(
            f"{file} cannot be read ({error}); delete it, the next deploy writes it anew."
        ) from None


def keep(file: Path, name: str, what: WakeTarget) -> bool:
    """Remember it; whether that was news. A file that cannot be read is written anew.

    Raises DeeprigError where it cannot be written: nothing but `deeprig wake` needs it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with alone(file.parent):
            return _keep(file, name, what)
    except OSError as error:
        raise DeeprigError(
            f"{file} cannot be written ({error.strerror or error}): `deeprig wake` will need "
            f'WakeOnLan(mac="{what.mac}").'
        ) from None


def _keep(file: Path, name: str, what: WakeTarget) -> bool:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if known.get(name) == what._asdict():
        return False
    write(file, f"{json.dumps(known | {name: what._asdict()}, indent=2)}\n".encode())
    return True
