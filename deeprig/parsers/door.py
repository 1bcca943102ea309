"""One connection as the box sees it: who came, and to which of its own addresses and ports.

What is dialled may be another port, where a router or a jump host stands between.
"""

import ipaddress
from typing import NamedTuple

from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo


class Door(NamedTuple):
    """`$SSH_CONNECTION`, and the network card that has the address."""

    client: str
    server: str
    port: int
    interface: str = ""


# What a box is asked, as who is logged in: sudo does not pass the variable on.
ASK = (
    'set -- $SSH_CONNECTION; echo "$1 $3 $4 $(ip -o addr show to "${3%%%*}" 2>/dev/null | '
    "awk 'NR == 1 {print $2}')\""
)


def read(line: str) -> Door:
    """What ASK printed. Raises NotSo where it is no connection."""
    client, server, port, *card = line.split()
    interface = untrusted.interface(card[0]) if card else ""
    return Door(_address(client), _address(server), untrusted.number(port, 1, 65535), interface)


def _address(text: str) -> str:
    """Without the card that a link-local one names, and as IPv4 where it is mapped."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise NotSo(f"{text[:80]!r} is no address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
