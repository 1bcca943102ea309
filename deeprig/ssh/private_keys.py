"""SSH private keys as files have them: their public half, and the key without its passphrase."""

import base64
import binascii
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

HARDWARE = "sk-"  # how the kinds of FIDO keys are called
KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class Locked(Exception):
    """The key has a passphrase."""


class NotThis(Exception):
    """Wrong passphrase, or no private key at all."""


class Unusable(Exception):
    """It is none of the kinds that paramiko logs in with."""


def load(path: Path) -> paramiko.PKey:
    """The key in a file, for a login.

    Raises PasswordRequiredException, PermissionError, or Unusable.
    """
    for kind in KINDS:
        try:
            return kind.from_private_key_file(str(path))
        except (paramiko.PasswordRequiredException, PermissionError):
            raise
        except (paramiko.SSHException, ValueError, IndexError):
            continue  # another kind of key
    raise Unusable


def is_locked(path: Path) -> bool:
    """Whether the key in a file has a passphrase."""
    try:
        load(path)
    except paramiko.PasswordRequiredException:
        return True
    except (Unusable, OSError):
        pass
    return False


def line(key: paramiko.PKey) -> str:
    """`type base64`, as a .pub file begins."""
    return f"{key.get_name()} {base64.b64encode(key.asbytes()).decode()}"


def public_of(path: Path) -> str:
    """`type base64` of the key in a file, also of one with a passphrase; empty where none can tell.

    OpenSSH's own format has it before the part that is encrypted (PROTOCOL.key); older ones have
    it in the .pub file alone.
    """
    try:
        lines = path.read_text().split("-----")
        packed = base64.b64decode("".join(lines[2].split()))
        message = paramiko.Message(packed.removeprefix(b"openssh-key-v1\0"))
        if not packed.startswith(b"openssh-key-v1\0"):
            return beside(path)
        for _ in ("cipher", "kdf", "options of the kdf"):
            message.get_string()
        message.get_int()
        public = message.get_string()
        return f"{paramiko.Message(public).get_text()} {base64.b64encode(public).decode()}"
    except (OSError, ValueError, IndexError, binascii.Error):
        return beside(path)


def beside(path: Path) -> str:
    """What the .pub file beside it says; empty where there is none."""
    public = path.with_name(f"{path.name}.pub")
    try:
        return public.read_text().strip()
    except (OSError, ValueError):
        return ""


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
