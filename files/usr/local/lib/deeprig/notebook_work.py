"""What runs in the notebook's tmux session, and which of it a restart would interrupt.

Written by deeprig (files/usr/local/lib/deeprig/notebook_work.py): change it there.
"""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

UNIT = "deeprig-notebook.service"
WINDOW = "/usr/local/lib/deeprig/notebook-window"
SHELLS = {"sh", "dash", "bash", "zsh", "fish", "ksh"}


class Process(NamedTuple):
    pid: int
    parent: int
    name: str
    command: str


def is_ours(pid: int) -> bool:
    """Whether this process belongs to the notebook's unit."""
    try:
        return f"/{UNIT}" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def processes() -> list[Process]:
    """The unit's processes; those that end meanwhile are left out."""
    found = []
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        if not is_ours(pid):
            continue
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        found.append(Process(pid, int(rest.split()[1]), name, command))
    return found


def listeners(port: int) -> list[tuple[str, int]]:
    """Name and process number of all who listen on a TCP port; number 0 where it is not known."""
    said = subprocess.run(
        ["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for line in said.splitlines():
        owners = re.findall(r'\("([^"]+)",pid=(\d+)', line)
        found += [(name, int(pid)) for name, pid in owners] or [("an unknown program", 0)]
    return found


def stranger(port: int) -> str:
    """Who has the port and is not ours, such as `nginx (process 812)`; empty if nobody."""
    for name, pid in listeners(port):
        if not is_ours(pid):
            return f"{name} (process {pid})" if pid else name
    return ""


def busy_shells(there: list[Process], jupyter: set[int]) -> list[str]:
    """The programs that run in JupyterLab's terminals and in windows that the user opened."""
    tmux = {p.pid for p in there if p.name.startswith("tmux")}
    opened = [
        p
        for p in there
        if p.parent in tmux | jupyter
        and WINDOW not in p.command
        and "ipykernel" not in p.command
        and (p.parent in tmux or p.name in SHELLS)
    ]
    running = []
    for shell in opened:
        inside = [p.name for p in there if p.parent == shell.pid]
        running += inside if shell.name in SHELLS else [shell.name]
    return running
