"""SSH private keys as files have them: their public half, and the key without its passphrase."""

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)


class Locked(Exception):
    """The key has a passphrase."""


class NotThis(Exception):
    """Wrong passphrase, or no private key at all."""


def public_half(text: bytes) -> str:
    """`type base64` of a private key without passphrase. Raises Locked or NotThis."""
    half = _load(text, None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return str(half.decode())


def unlocked(text: bytes, passphrase: str | None = None) -> bytes:
    """The same key as OpenSSH writes it without a passphrase. Raises Locked or NotThis."""
    key = _load(text, passphrase.encode() if passphrase else None)
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def _load(text: bytes, passphrase: bytes | None) -> Any:
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        return load(text, passphrase)
    except TypeError:  # a passphrase for a key that has none, or none for one that has
        if passphrase is None:
            raise Locked from None
        return _load(text, None)
    except (ValueError, UnsupportedAlgorithm):
        raise NotThis from None
