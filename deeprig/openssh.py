"""The system's own `ssh`, told to trust and to send exactly what the inventory says."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from deeprig.connection import CONNECT_SECONDS

# A dead link is given up after 15 s: two questions unanswered when it is time for the third.
ALIVE_SECONDS, ALIVE_COUNT = 5, 2
LOOPBACK = "127.0.0.1"


class Forward(NamedTuple):
    """A port on this machine's loopback that leads to one on the box's."""

    local: int
    remote: int


def options(host_data: dict[str, Any], forwards: Iterable[Forward]) -> list[tuple[str, str]]:
    """Names and values, written as an ssh_config file has them."""
    key, user = host_data.get("ssh_key"), host_data.get("ssh_user")
    pins = host_data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts"
    return [
        ("HostName", host_data["ssh_hostname"]),
        ("Port", str(host_data.get("ssh_port") or 22)),
        *([("User", user)] if user else []),
        # Without a key file it is the agent's, or one of the usual files.
        *([("IdentityFile", _path(key)), ("IdentitiesOnly", "yes")] if key else []),
        ("UserKnownHostsFile", _path(pins)),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("StrictHostKeyChecking", "yes"),
        *(("LocalForward", f"{LOOPBACK}:{f.local} {LOOPBACK}:{f.remote}") for f in forwards),
        ("ExitOnForwardFailure", "yes"),
        ("ConnectTimeout", str(CONNECT_SECONDS)),
        ("ServerAliveInterval", str(ALIVE_SECONDS)),
        ("ServerAliveCountMax", str(ALIVE_COUNT)),
    ]


def command(
    name: str, host_data: dict[str, Any], forwards: Iterable[Forward], remote: str
) -> list[str]:
    """An `ssh` that reads no configuration file, asks nobody, and runs `remote` on the box."""
    # At LogLevel INFO it complains each time a browser asks while a server starts again.
    quiet = [("BatchMode", "yes"), ("LogLevel", "ERROR")]
    pairs = [f"-o{key}={value}" for key, value in [*quiet, *options(host_data, forwards)]]
    return ["ssh", "-F", "none", "-T", *pairs, name, remote]


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


def _path(path: str) -> str:
    """Absolute and quoted; a percent sign would begin one of ssh's own tokens."""
    return '"{}"'.format(str(Path(path).expanduser().absolute()).replace("%", "%%"))
