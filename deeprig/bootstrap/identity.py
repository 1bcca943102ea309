"""Which private key on this machine opens the kept host keys of a box."""

from collections.abc import Callable, Iterable
from pathlib import Path

from deeprig.errors import DeeprigError
from deeprig.ssh import host_key_backup, private_keys
from deeprig.ssh.host_key_backup import HostKeys

CANDIDATES = (Path("~/.ssh/id_ed25519"), Path("~/.ssh/id_rsa"))
Ask = Callable[[Path], str]


def open_kept(file: Path, candidates: Iterable[Path], ask: Ask | None) -> HostKeys:
    """The host keys in `file`, by the first of these private keys that opens it.

    `ask` is given the file of a key with a passphrase and returns that; None where there is nobody
    to ask. Raises DeeprigError saying which key is needed.
    """
    host_key_backup.check_whole(file)
    tried = list(dict.fromkeys(path.expanduser().absolute() for path in candidates))
    owner = host_key_backup.record_of(file).encrypted_to
    for path in tried:
        text = _read(path)
        if not text or (_is_another(path, owner) and len(tried) > 1):
            continue
        keys = host_key_backup.open_with(file, _unlocked(path, text, ask))
        if keys:
            return keys
    raise DeeprigError(
        f"{file} opens with none of {', '.join(map(str, tried))}; name the private key of "
        f"{owner or 'Ssh.keep_host_keys'} with --identity (an agent cannot decrypt), or move the "
        "file away to go on with the box's new host keys."
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except PermissionError:
        raise DeeprigError(f"{path} cannot be read by you; `chown` it, or name another.") from None


def _is_another(path: Path, owner: str) -> bool:
    """Whether the .pub file beside it says that this is not the owner's key."""
    public = path.with_name(f"{path.name}.pub")
    return bool(owner) and public.is_file() and public.read_text().split()[:2] != owner.split()[:2]


def _unlocked(path: Path, text: bytes, ask: Ask | None) -> bytes:
    try:
        return private_keys.unlocked(text)
    except private_keys.NotThis:
        return b""
    except private_keys.Locked:
        if ask is None:
            raise DeeprigError(
                f"{path} has a passphrase, there is no terminal to ask for it on, and an agent "
                "cannot decrypt; run this in a terminal."
            ) from None
    try:
        return private_keys.unlocked(text, ask(path))
    except (private_keys.Locked, private_keys.NotThis):
        raise DeeprigError(f"That is not the passphrase of {path}; try again.") from None
