"""Who has the notebook's ports, and what in its tmux session a restart would interrupt."""

import pwd
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from deeprig_box.lib import place, proc

UNIT = "deeprig-notebook.service"
WINDOW = place.script("notebook-window")
# The second is from before there was a package; one that was begun then may run for weeks.
WINDOWS = (WINDOW, "/usr/local/lib/deeprig/notebook-window")
CONF = Path("/etc/deeprig/notebook.conf")
SHELLS = {"sh", "dash", "bash", "zsh", "fish", "ksh"}
# 127.0.0.1, and what stands for every address where nobody has that one, as /proc/net writes them.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
EVERYWHERE = {"0" * 8, "0" * 32}
LISTEN, ESTABLISHED = "0A", "01"
ACCEPT_SECONDS = 10.0


class Process(NamedTuple):
    pid: int
    parent: int
    name: str
    command: str


class Row(NamedTuple):
    """One socket in /proc/net/tcp: its own end, the other one, its state, its owner."""

    here: tuple[str, int]
    there: tuple[str, int]
    state: str
    uid: int
    inode: int


class NotOurs(OSError):
    """The other end of a connection belongs to somebody else."""


def settings() -> dict[str, str]:
    lines = CONF.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line[:1] != "#" and "=" in line)


def is_ours(pid: int, uid: int) -> bool:
    """Whether this process belongs to the notebook's unit of this user, and to the user."""
    try:
        groups = Path(proc.PROC, f"{pid}/cgroup").read_text().splitlines()
        status = Path(proc.PROC, f"{pid}/status").read_text()
    except OSError:
        return False
    # Anybody may have a unit of this name; the slice is systemd's word for whose it is.
    within = f"/user.slice/user-{uid}.slice/user@{uid}.service/"
    words = [line.split(":", 2) for line in groups]
    paths = [f"{path}/" for _, kind, path in words if kind in ("", "name=systemd")]
    mine = any(path.startswith(within) and f"/{UNIT}/" in path for path in paths)
    return mine and f"\nUid:\t{uid}\t" in status


def processes(uid: int) -> list[Process]:
    """The unit's processes; those that end meanwhile are left out."""
    running = []
    for pid in pids():
        if not is_ours(pid, uid):
            continue
        try:
            stat = Path(proc.PROC, f"{pid}/stat").read_text(errors="replace")
            command = Path(proc.PROC, f"{pid}/cmdline").read_text(errors="replace")
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        command = command.replace("\0", " ").strip()
        running.append(Process(pid, int(rest.split()[1]), name, command))
    return running


def pids() -> list[int]:
    return [int(place.name) for place in proc.every()]


def rows(*tables: str) -> Iterator[Row]:
    for table in tables:
        for line in Path(proc.PROC, "net", table).read_text().splitlines()[1:]:
            words = line.split()
            yield Row(end(words[1]), end(words[2]), words[3], int(words[7]), int(words[9]))


def end(words: str) -> tuple[str, int]:
    address, _, port = words.partition(":")
    return address, int(port, 16)


def listeners(port: int) -> list[Row]:
    """Whoever gets what is sent to this port of 127.0.0.1."""
    listening = [row for row in rows("tcp", "tcp6") if row.state == LISTEN and row.here[1] == port]
    exact = [row for row in listening if row.here[0] in LOOPBACK]
    return exact or [row for row in listening if row.here[0] in EVERYWHERE]


def holders(row: Row, among: Iterable[int]) -> list[int]:
    """Which of these processes have this socket; of other users only root sees it."""
    link = f"socket:[{row.inode}]"
    return [pid for pid in among if link in open_files(pid)]


def open_files(pid: int) -> list[str]:
    return proc.leads_to(proc.open_files(pid))


def servers(port: int, uid: int) -> set[int]:
    """The processes of our unit that listen there; empty if anybody else does."""
    listening = listeners(port)
    if any(row.uid != uid for row in listening):
        return set()
    ours = [pid for pid in pids() if is_ours(pid, uid)] if listening else []
    return {pid for row in listening for pid in holders(row, ours)}


def stranger(port: int, uid: int) -> str:
    """Who has the port and is not ours, such as `nginx (process 812) of root`; empty if nobody."""
    for row in listeners(port):
        numbers = holders(row, pids())
        if row.uid == uid and any(is_ours(pid, uid) for pid in numbers):
            continue
        names = [f"{name} (process {pid})" for pid in numbers[:1] if (name := proc.name(pid))]
        return f"{names[0] if names else 'an unknown program'} of {account(row.uid)}"
    return ""


def account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def prove_other_end(channel: socket.socket, uid: int) -> None:
    """That this user has the other end of a connection to 127.0.0.1; raises NotOurs.

    Once it is accepted it has an owner, whatever listens on the port by then.
    """
    here, port = channel.getsockname()[1], channel.getpeername()[1]
    until = time.monotonic() + ACCEPT_SECONDS
    while time.monotonic() < until:
        for row in rows("tcp"):
            ends = row.here[1] == port and row.there[1] == here
            if ends and row.here[0] in LOOPBACK and row.state == ESTABLISHED and row.inode:
                if row.uid == uid:
                    return
                raise NotOurs(f"port {port} belongs to {account(row.uid)}")
        time.sleep(0.05)
    raise NotOurs(f"nobody of ours takes the connection to port {port}")


def busy_shells(there: list[Process], jupyter: set[int]) -> list[str]:
    """The programs that run in JupyterLab's terminals and in windows that the user opened."""
    tmux = {p.pid for p in there if p.name.startswith("tmux")}
    opened = [
        p
        for p in there
        if p.parent in tmux | jupyter
        and not any(window in p.command for window in WINDOWS)
        and "ipykernel" not in p.command
        and (p.parent in tmux or p.name in SHELLS)
    ]
    running = []
    for shell in opened:
        inside = [p.name for p in there if p.parent == shell.pid]
        running += inside if shell.name in SHELLS else [shell.name]
    return running
