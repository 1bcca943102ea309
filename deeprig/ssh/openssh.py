"""The system's own `ssh`, told to trust and to send exactly what the inventory says."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from deeprig.ssh import connection, known_hosts
from deeprig.ssh.dial import CONNECT_SECONDS

# A dead link is given up after 15 s: two questions unanswered when it is time for the third.
ALIVE_SECONDS, ALIVE_COUNT = 5, 2
LOOPBACK = "127.0.0.1"


class Forward(NamedTuple):
    """A port on this machine's loopback that leads to one on the box's."""

    local: int
    remote: int


def options(
    host_data: dict[str, Any], forwards: Iterable[Forward], port: int | None = None
) -> list[tuple[str, str]]:
    """Names and values, written as an ssh_config file has them; `port` is the door to dial.

    What leads to the box, and who holds the key, is what the owner's own ssh configuration says.
    """
    entry, user = connection.entry_of(host_data), host_data.get("ssh_user")
    port = port or connection.doors(host_data)[0]
    key = connection.key_of(host_data)
    proxy = entry.proxy(port, user)
    keys = [key] if key else entry.identities
    return [
        ("HostName", _plain(entry.hostname)),
        ("Port", str(port)),
        # Pinned is what the inventory calls the box, wherever that leads.
        ("HostKeyAlias", known_hosts.label(host_data["ssh_hostname"], port).lower()),
        *([("ProxyCommand", _plain(proxy))] if proxy else []),
        *([("User", user)] if user else []),
        # Without a key file it is the agent's, or one of the usual files.
        *(("IdentityFile", _path(file)) for file in keys),
        *([("IdentitiesOnly", "yes")] if key or entry.identities_only else []),
        *([("IdentityAgent", _path(entry.agent))] if entry.agent else []),
        ("UserKnownHostsFile", _path(connection.pins_of(host_data))),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("StrictHostKeyChecking", "yes"),
        *(("LocalForward", f"{LOOPBACK}:{f.local} {LOOPBACK}:{f.remote}") for f in forwards),
        ("ExitOnForwardFailure", "yes"),
        ("ConnectTimeout", str(CONNECT_SECONDS)),
        ("ServerAliveInterval", str(ALIVE_SECONDS)),
        ("ServerAliveCountMax", str(ALIVE_COUNT)),
    ]


def command(
    name: str,
    host_data: dict[str, Any],
    forwards: Iterable[Forward],
    remote: str,
) -> list[str]:
    """An `ssh` that reads no configuration file, asks nobody, and runs `remote` on the box."""
    # At LogLevel INFO it complains each time a browser asks while a server starts again.
    quiet = [("BatchMode", "yes"), ("LogLevel", "ERROR")]
    port = connection.open_door(host_data)
    pairs = [f"-o{key}={value}" for key, value in [*quiet, *options(host_data, forwards, port)]]
    return ["ssh", "-F", "none", "-T", *pairs, "--", name, remote]


def line(host_data: dict[str, Any], user: str, *remote: str, program: str = "ssh") -> str:
    """What a person types to be there as `user`, at a terminal where something is `remote`.

    What their own ssh configuration says of the host counts; this says the rest: port, key, pins.
    """
    name = host_data["ssh_hostname"]
    entry, port = connection.entry_of(host_data), connection.doors(host_data)[0]
    words = ["-t"] if remote else []
    if port != (entry.port or 22):
        words += ["-p", str(port)]
    if key := connection.key_of(host_data):
        words += ["-i", _plain(str(Path(key).expanduser().absolute()))]
    pins = connection.pins_of(host_data)
    if pins != Path("~/.ssh/known_hosts").expanduser():
        file = _path(pins)
        words += ["-o", f"UserKnownHostsFile={file if ' ' in file else file[1:-1]}"]
    if entry.hostname != name:  # pinned is the name
        words += ["-o", f"HostKeyAlias={known_hosts.label(name, port).lower()}"]
    return shlex.join([program, *words, f"{user}@{name}", *remote])


def config_block(name: str, host_data: dict[str, Any], forwards: Iterable[Forward]) -> str:
    """The same for a file that `ssh`, an editor or a file manager reads."""
    lines = [f"    {key} {value}" for key, value in options(host_data, forwards)]
    return "\n".join(
        [
            f"# Written by `deeprig tunnel {name} --print-ssh-config`.",
            f"# One session holds the ports; beside it: ssh -o ClearAllForwardings=yes {name}",
            f"Host {name}",
            *lines,
        ]
    )


def _path(path: str | Path) -> str:
    """Absolute and quoted."""
    if path in ("none", "SSH_AUTH_SOCK"):
        return str(path)
    return f'"{_plain(str(Path(path).expanduser().absolute()))}"'


def _plain(text: str) -> str:
    """A percent sign would begin one of ssh's own tokens."""
    return text.replace("%", "%%")
