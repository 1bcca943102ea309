"""What names a person, an address or a single device is taken out of a text that is sent away."""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from deeprig.ui import visible

if TYPE_CHECKING:  # what is imported is the standard library alone: tools/ has no more
    from deeprig.inventories import Box

SECRETS = (
    (re.compile(r"\bAAAA[0-9A-Za-z+/]{40,}={0,2}"), "<key>"),
    (re.compile(r"\bSHA256:[0-9A-Za-z+/]{40,}"), "<fingerprint>"),
    (re.compile(r"(?i)\b(serial(?: number)?(?: is|:|=)\s*)(?=\S*\d)[\w-]{6,}"), r"\1<serial>"),
    (re.compile(r"\bargon2:\S+"), "<hash>"),
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), "<hex>"),
    (re.compile(r"(?:GPU-)?\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\b"), "<mac>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<mail>"),
    (re.compile(r"(https?|ntfy)://[^\s\"'/]+"), r"\1://<host>"),
    (re.compile(r"/home/[^/\s\"']+"), "/home/<user>"),
)
NUMBERS = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F]+(?:%\w+)?"
)
LOOPBACK = ("127.0.0.1", "0.0.0.0", "::1")


def text(line: str, known: Mapping[str, str]) -> str:
    """The same without them; `known` has the words to take out, each with what stands for it."""
    for word in sorted(known, key=len, reverse=True):
        line = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", known[word], line)
    for pattern, instead in SECRETS:
        line = pattern.sub(instead, line)
    return NUMBERS.sub(_address, line)


def _address(found: re.Match[str]) -> str:
    """A version such as cuDNN's 9.10.2.21 looks like an address, a PCI slot nearly: they stay."""
    try:
        address = ip_address(found[0].partition("%")[0])
    except ValueError:
        return found[0]
    ones_own = address.version == 6 or address.is_private
    return "<address>" if ones_own and found[0] not in LOOPBACK else found[0]


def everywhere(found: Any, known: Mapping[str, str]) -> Any:
    """The same for each text in lists and dictionaries, so that JSON's own marks stay."""
    if isinstance(found, str):
        return visible.lines(text(found, known))
    if isinstance(found, dict):
        return {key: everywhere(inner, known) for key, inner in found.items()}
    if isinstance(found, list):
        return [everywhere(inner, known) for inner in found]
    return found


def words(boxes: "list[Box]") -> dict[str, str]:
    """What an inventory names: boxes, addresses, people, files."""
    from deeprig.errors import DeeprigError
    from deeprig.ssh import connection

    known: dict[str, str] = {}
    for number, (name, data) in enumerate(boxes, start=1):
        known |= {name: f"<box {number}>", str(data["ssh_hostname"]): f"<box {number}>"}
        known |= {str(data["ssh_user"]): "<ssh_user>"} if data.get("ssh_user") else {}
        if key := connection.key_of(data):
            known[key] = "<ssh_key>"
        with suppress(DeeprigError):
            own = connection.entry_of(data)
            known |= {own.hostname: f"<box {number}>"} | dict.fromkeys(own.jumps, "<jump host>")
        rig: Any = data["rig"]
        people = [user.name for user in rig.users]
        if rig.notebook:
            people.append(rig.notebook.user)
        known |= dict.fromkeys(people, "<user>")
    known.pop("deeprig", None)  # everybody's deploy user
    return known
