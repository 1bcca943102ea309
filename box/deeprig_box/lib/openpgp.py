"""The public keys in a file, each with its fingerprint: gpg itself is not on every box.

Reads only.
"""

import base64
import hashlib
from collections.abc import Iterator

ARMOUR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY = 6


class NoKey(Exception):
    """What was read is no OpenPGP key."""


def keys(data: bytes) -> dict[str, bytes]:
    """Fingerprint -> the key with all that belongs to it, in binary."""
    binary = unarmoured(data) if ARMOUR in data else data
    by_fingerprint: dict[str, bytes] = {}
    current = ""
    for tag, body, whole in packets(binary):
        if tag == PUBLIC_KEY:
            current = fingerprint(body)
            by_fingerprint[current] = b""
        if not current:
            raise NoKey
        by_fingerprint[current] += whole
    if not by_fingerprint:
        raise NoKey
    return by_fingerprint


def fingerprint(body: bytes) -> str:
    """RFC 9580, 5.5.4.2; keys of version 6 are not what apt's archives have."""
    if body[:1] != b"\4":
        raise NoKey
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


def unarmoured(data: bytes) -> bytes:
    """The binary of each armoured block; a keyring may hold several."""
    whole = b""
    for block in data.split(ARMOUR)[1:]:
        lines = (
            block.split(b"-----END", 1)[0].replace(b"\r", b"").split(b"\n\n", 1)[-1].split(b"\n")
        )
        try:
            whole += base64.b64decode(b"".join(line for line in lines if line[:1] != b"="))
        except ValueError:
            raise NoKey from None
    return whole


def packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, body and the whole packet, one after the other (RFC 9580, 4.2)."""
    place = 0
    while place < len(data):
        first = data[place]
        if not first & 0x80:
            raise NoKey
        tag, start, length = _new(data, place) if first & 0x40 else _old(data, place)
        end = start + length
        if end > len(data):
            raise NoKey
        yield tag, data[start:end], data[place:end]
        place = end


def _old(data: bytes, place: int) -> tuple[int, int, int]:
    octets = (1, 2, 4, 0)[data[place] & 3]
    start = place + 1 + octets
    return data[place] >> 2 & 15, start, int.from_bytes(data[place + 1 : start], "big")


def _new(data: bytes, place: int) -> tuple[int, int, int]:
    tag, octets = data[place] & 63, data[place + 1 : place + 6]
    if len(octets) < 1 or 224 <= octets[0] < 255:
        raise NoKey
    if octets[0] < 192:
        return tag, place + 2, octets[0]
    if octets[0] < 224:
        return tag, place + 3, ((octets[0] - 192) << 8) + octets[1] + 192
    return tag, place + 6, int.from_bytes(octets[1:5], "big")
