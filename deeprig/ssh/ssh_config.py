"""What the owner's own ssh configuration says of a host, as OpenSSH itself reads it."""

import getpass
import os
import pwd
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from deeprig.errors import DeeprigError
from deeprig.ui.visible import visible

READ_SECONDS = 20  # a `Match exec` or a slow resolver may be in it
# How a jump host is logged in to: asking nobody, and only if its host key is known already. The
# reason why the box behind it is not reached is said from level INFO on.
JUMP = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "LogLevel": "INFO",
}


class Entry(NamedTuple):
    """What `Host` and `Match` blocks say of one host; empty where they are silent.

    `hostname` is what is dialled, `jumps` are ProxyJump's hosts, the nearest first, `command` is
    ProxyCommand's with its tokens, and `agent` the socket of another agent than the usual one.
    """

    name: str
    hostname: str
    port: int | None = None
    user: str | None = None
    identities: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    jumps: tuple[str, ...] = ()
    command: str = ""

    @property
    def through(self) -> str:
        """What leads there, in words; empty where nothing does."""
        if self.jumps:
            return " and ".join(self.jumps)
        return "its ProxyCommand" if self.command else ""

    def proxy(self, port: int, user: str | None = None) -> str:
        """The shell command whose input and output are the box's sshd; empty where it is direct."""
        if self.command:
            tokens = {
                "h": self.hostname,
                "n": self.name,
                "p": str(port),
                "r": user or getpass.getuser(),
            }
            return _expanded(self.command, tokens)
        if not self.jumps:
            return ""
        *first, last = map(destination, self.jumps)
        before = ""
        for jump in first:
            # Of ssh's own -J only the last host would be told how to check the host keys.
            before = shlex.join(_ssh(before.replace("%", "%%"), "-W", "[%h]:%p", "--", jump))
        return shlex.join(_ssh(before, "-W", f"[{self.hostname}]:{port}", "--", last))


def of(name: str, file: str | None = None) -> Entry:
    """What is said of this host; `file` is read in place of the usual ones.

    Raises DeeprigError where ssh does not understand its own files.
    """
    options = _asked(name, file)
    if options is None:
        return Entry(name, name)
    usual = _usual()
    if "yes" in options.get("proxyusefdpass", ()):
        raise DeeprigError(f"ProxyUseFdpass is set for {name} in your ssh configuration; drop it.")
    [hostname], [port], [user] = options["hostname"], options["port"], options["user"]
    tokens = {
        "d": str(home()),
        "h": hostname,
        "n": name,
        "p": port,
        "r": user,
        "u": getpass.getuser(),
    }
    identities = () if options.get("identityfile") == usual.get("identityfile") else tuple(
        Path(_expanded(one, tokens)).expanduser() for one in options.get("identityfile", ())
    )  # fmt: skip
    agent = options.get("identityagent", [""])[0]
    jumps = options.get("proxyjump", ["none"])[0]
    command = options.get("proxycommand", ["none"])[0]
    return Entry(
        name=name,
        hostname=name if hostname == name.lower() else hostname,
        port=None if [port] == usual["port"] else int(port),
        user=None if [user] == usual["user"] else user,
        identities=identities,
        identities_only="yes" in options.get("identitiesonly", ()),
        agent=_socket(agent),
        jumps=() if jumps == "none" else tuple(_expanded(jumps, tokens).split(",")),
        command="" if command == "none" else command,
    )


def _socket(said: str) -> str:
    """IdentityAgent's, which may be an environment variable; empty for the usual one."""
    if said in ("", "SSH_AUTH_SOCK", "none"):
        return "none" if said == "none" else ""
    return os.path.expandvars(Path(said).expanduser())


def home() -> Path:
    """Where the owner's files are, for whatever is asked here and for OpenSSH alike."""
    return Path("~").expanduser()


def own_file() -> list[str]:
    """What `ssh` is told where it would look for the files of another home than we do."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        account = ""
    if str(home()) == account:
        return []
    file = home() / ".ssh" / "config"
    return ["-F", str(file) if file.is_file() else "none"]


def users_own_ssh(host: str, command: str) -> list[str]:
    """An `ssh` by the owner's own configuration, keys and known_hosts, that asks nobody."""
    return [*_ssh("", "-T", "--", host), command]


def destination(jump: str) -> str:
    """One host of ProxyJump as `ssh` takes it for an argument: a port only in a URL."""
    plain = jump.startswith("ssh://") or (jump.count(":") != 1 and "]:" not in jump)
    return jump if plain else f"ssh://{jump}"


def _ssh(proxy: str, *words: str) -> list[str]:
    options = JUMP | ({"ProxyCommand": proxy} if proxy else {})
    return ["ssh", *own_file(), *(f"-o{name}={value}" for name, value in options.items()), *words]


def _asked(name: str, file: str | None) -> dict[str, list[str]] | None:
    """ssh's own reading, a list of values for each key; None where there is no ssh."""
    where = ["-F", file] if file else own_file()
    command = ["ssh", "-T", "-G", *where, "--", name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            errors="replace", timeout=READ_SECONDS,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise DeeprigError(
            f"`ssh -G {name}` does not end; look at your ssh configuration, at a Match exec in it."
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        reason = next((line for line in lines if " line " in line), lines[-1])
        raise DeeprigError(
            f"ssh does not understand its configuration: {visible(reason).rstrip('.')}; mend that."
        )
    options: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        options.setdefault(key, []).append(value)
    return options


@cache
def _usual() -> dict[str, list[str]]:
    """What ssh says where no file says anything."""
    return _asked("localhost", "none") or {}


def _expanded(text: str, tokens: dict[str, str]) -> str:
    """`text` with ssh's own %-tokens put in."""
    pieces = text.split("%%")
    for token, value in tokens.items():
        pieces = [piece.replace(f"%{token}", value) for piece in pieces]
    return "%".join(pieces)
