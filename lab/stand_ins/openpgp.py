"""Keys and signatures as apt wants them, and as it does not; see RFC 4880.

Written here rather than by gpg, which will not make a key that expired last week, and leaves an
agent behind.
"""

import base64
import hashlib
import struct
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

DAY = 86400
RSA = 1
SHA1, SHA256 = 2, 8
HASHES: dict[int, hashes.HashAlgorithm] = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256()}
OF_BINARY, OF_TEXT, OF_USER_ID = 0x00, 0x01, 0x13
SIGNATURE, PUBLIC_KEY, USER_ID = 2, 6, 13


@dataclass(frozen=True)
class Key:
    """A key that signs repositories, and its public half as it goes into a keyring."""

    private: rsa.RSAPrivateKey
    body: bytes
    public: bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(_framed(self.body)).hexdigest().upper()

    @property
    def armoured(self) -> str:
        return armour("PUBLIC KEY BLOCK", self.public)


def make_key(user_id: str, *, lives_days: int = 0, bound_by: int = SHA256) -> Key:
    """A new key that is a month old.

    It expires after `lives_days`, 0 for never; `bound_by` is the hash that binds the user id to it.
    """
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = private.public_key().public_numbers()
    made = int(time.time()) - 30 * DAY
    body = struct.pack(">BIB", 4, made, RSA) + _integer(numbers.n) + _integer(numbers.e)
    uid = user_id.encode()
    subpackets = _subpacket(27, b"\x03")  # it certifies and signs
    if lives_days:
        subpackets += _subpacket(9, struct.pack(">I", lives_days * DAY))
    bare = Key(private, body, b"")
    signed = _framed(body) + b"\xb4" + struct.pack(">I", len(uid)) + uid
    bond = _signature(bare, OF_USER_ID, signed, subpackets, made=made, digest=bound_by)
    public = _packet(PUBLIC_KEY, body) + _packet(USER_ID, uid) + _packet(SIGNATURE, bond)
    return Key(private, body, public)


def clear_signed(key: Key, text: str) -> str:
    """The text with its signature below, as in InRelease."""
    lines = [line.rstrip() for line in text.rstrip("\n").split("\n")]
    signature = _signature(key, OF_TEXT, "\r\n".join(lines).encode())
    escaped = "\n".join(f"- {line}" if line.startswith("-") else line for line in lines)
    signed = armour("SIGNATURE", _packet(SIGNATURE, signature))
    return f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{escaped}\n{signed}"


def detached(key: Key, content: bytes) -> str:
    """The signature alone, as in Release.gpg."""
    return armour("SIGNATURE", _packet(SIGNATURE, _signature(key, OF_BINARY, content)))


def armour(kind: str, content: bytes) -> str:
    text = base64.b64encode(content).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    check = base64.b64encode(_crc24(content)).decode()
    return "\n".join([f"-----BEGIN PGP {kind}-----", "", *lines, f"={check}"]) + (
        f"\n-----END PGP {kind}-----\n"
    )


def _signature(
    key: Key,
    kind: int,
    signed: bytes,
    subpackets: bytes = b"",
    *,
    made: int = 0,
    digest: int = SHA256,
) -> bytes:
    """The body of a signature packet over what is signed and what it says of itself."""
    made = made or int(time.time()) - 60
    fingerprint = bytes.fromhex(key.fingerprint)
    subpackets += _subpacket(2, struct.pack(">I", made)) + _subpacket(33, b"\x04" + fingerprint)
    head = struct.pack(">BBBBH", 4, kind, RSA, digest, len(subpackets)) + subpackets
    whole = signed + head + b"\x04\xff" + struct.pack(">I", len(head))
    issuer = _subpacket(16, fingerprint[-8:])
    algorithm = HASHES[digest]
    number = int.from_bytes(key.private.sign(whole, padding.PKCS1v15(), algorithm), "big")
    start = hashlib.new(algorithm.name, whole).digest()[:2]
    return head + struct.pack(">H", len(issuer)) + issuer + start + _integer(number)


def _framed(body: bytes) -> bytes:
    return b"\x99" + struct.pack(">H", len(body)) + body


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0x80 | tag << 2 | 1]) + struct.pack(">H", len(body)) + body


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes([len(body) + 1, kind]) + body


def _integer(number: int) -> bytes:
    return struct.pack(">H", number.bit_length()) + number.to_bytes((number.bit_length() + 7) // 8)


def _crc24(content: bytes) -> bytes:
    crc = 0xB704CE
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc.to_bytes(3)
