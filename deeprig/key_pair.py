"""The SSH key of the person who deploys, from its file or from an agent."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import paramiko

from deeprig.errors import DeeprigError

USUAL = Path("~/.ssh/id_ed25519")
KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True)
class KeyPair:
    """`file` is None where only the agent can use the key; `public` is one authorized_keys line."""

    file: Path | None
    public: str
    private: paramiko.PKey


def read(file: Path) -> KeyPair:
    """The pair whose private half is in `file`. Raises DeeprigError where it cannot be used."""
    path = file.expanduser()
    if not path.is_file():
        raise DeeprigError(
            f"{path} is not there; make it with `ssh-keygen -t ed25519 -f {path}`, "
            "or name another private key with --key."
        )
    if path.suffix == ".pub":
        raise DeeprigError(f"{path} is the public half; name {path.with_suffix('')} with --key.")
    try:
        private = _load(path)
    except paramiko.PasswordRequiredException:
        return _in_agent(path)
    except PermissionError:
        raise DeeprigError(f"{path} cannot be read by you; `chown` it, or name another.") from None
    return KeyPair(path, _public_line(path, private), private)


def make(file: Path) -> None:
    """Make an ed25519 pair without a passphrase at `file`."""
    path = file.expanduser()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise DeeprigError(f"`{' '.join(command)}` failed; make the key by hand.") from None


def _load(path: Path) -> paramiko.PKey:
    for kind in KINDS:
        try:
            return kind.from_private_key_file(str(path))
        except (paramiko.PasswordRequiredException, PermissionError):
            raise
        except (paramiko.SSHException, ValueError):
            continue  # another kind of key
    raise DeeprigError(
        f"{path} is no private key that can be used; name an ed25519 one with --key."
    )


def _public_line(path: Path, private: paramiko.PKey) -> str:
    """As the .pub file has it, with its comment, if that is this key's other half."""
    blob = f"{private.get_name()} {private.get_base64()}"
    there = _beside(path)
    return there if there.startswith(blob) else f"{blob} deeprig"


def _beside(path: Path) -> str:
    public = path.with_name(f"{path.name}.pub")
    return public.read_text().strip() if public.is_file() else ""


def _in_agent(path: Path) -> KeyPair:
    public = _beside(path)
    for key in paramiko.Agent().get_keys():
        if public.startswith(f"{key.get_name()} {key.get_base64()}"):
            return KeyPair(None, public, key)
    raise DeeprigError(
        f"{path} has a passphrase and no agent holds it; run `ssh-add {path}` first."
    )
