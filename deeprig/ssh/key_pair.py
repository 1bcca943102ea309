"""The SSH key of the person who deploys, from its file or from an agent."""

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import paramiko

from deeprig.errors import DeeprigError
from deeprig.ssh import private_keys
from deeprig.ssh.login_keys import in_agent

USUAL = Path("~/.ssh/id_ed25519")


@dataclass(frozen=True)
class KeyPair:
    """`file` is None where only the agent can use the key; `public` is one authorized_keys line."""

    file: Path | None
    public: str
    private: paramiko.PKey


def read(file: Path, agent: str = "") -> KeyPair:
    """The pair whose private half is in `file`; `agent` is the socket of another than the usual.

    Raises DeeprigError where it cannot be used.
    """
    path = file.expanduser()
    if not path.is_file():
        raise DeeprigError(
            f"{path} is not there; make it with `ssh-keygen -t ed25519 -f {path}`, "
            "or name another private key with --key."
        )
    check(path)
    try:
        private = private_keys.load(path)
    except paramiko.PasswordRequiredException:
        return _in_agent(path, agent)
    return KeyPair(path, _public_line(path, private), private)


def check(path: Path) -> None:
    """Raise DeeprigError, in a line, where no login can be made with the private key in `path`."""
    if path.suffix == ".pub":
        raise DeeprigError(
            f"{path} is the public half; name {path.with_suffix('')} with --key or box(key=)."
        )
    try:
        about = path.stat()
        private_keys.load(path)
    except paramiko.PasswordRequiredException:
        pass
    except PermissionError:
        raise DeeprigError(f"{path} cannot be read by you; `chown` it, or name another.") from None
    except private_keys.Unusable:
        if private_keys.public_of(path).startswith(private_keys.HARDWARE):
            raise DeeprigError(
                f"{path} is a FIDO key, which paramiko, what deeprig logs in with, cannot use; "
                "name an ed25519 key that is no -sk one."
            ) from None
        raise DeeprigError(
            f"{path} is no private key that can be used; name an ed25519 one."
        ) from None
    # OpenSSH's own rule: it does not use such a key, so that a tunnel would not come about.
    if about.st_uid == os.getuid() and stat.S_IMODE(about.st_mode) & 0o077:
        raise DeeprigError(
            f"{path} can be read by others, and ssh takes no such key; {closing(str(path))}."
        )


def closing(path: str) -> str:
    """How a key is kept from others. Where chmod changes nothing, as on the disk of Windows in WSL
    (https://github.com/kovshenin/sail/issues/41) or on FAT, it has to go elsewhere.
    """
    return f"run `chmod 600 {path}`, and if that changes nothing copy it into ~/.ssh first"


def make(file: Path) -> None:
    """Make an ed25519 pair without a passphrase at `file`."""
    path = file.expanduser()
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise DeeprigError(f"`{' '.join(command)}` failed; make the key by hand.") from None


def _public_line(path: Path, private: paramiko.PKey) -> str:
    """As the .pub file has it, with its comment, if that is this key's other half."""
    blob = private_keys.line(private)
    public = private_keys.beside(path)
    return public if public.startswith(blob) else f"{blob} deeprig"


def _in_agent(path: Path, agent: str) -> KeyPair:
    public = private_keys.public_of(path)
    for key in in_agent(agent):
        if public.startswith(private_keys.line(key)):
            return KeyPair(None, _public_line(path, key), key)
    raise DeeprigError(
        f"{path} has a passphrase and no agent holds it; run `ssh-add {path}` first."
    )
