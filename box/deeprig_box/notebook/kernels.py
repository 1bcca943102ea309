"""Print what a restart of the notebook would interrupt, in words; the work user runs it.

An empty line where that is nothing. With `status`: the HTTP status that JupyterLab gives to who
has the token, or why there is none. The token goes to nobody but a server of this user.
"""

import http.client
import json
import os
import sys
from pathlib import Path

from deeprig_box.lib.proc import visible
from deeprig_box.notebook.processes import (
    busy_shells,
    processes,
    prove_other_end,
    servers,
    settings,
)

TOKEN = Path.home() / ".config/deeprig/notebook-token"
SECONDS = 10
MOST_BYTES = 2**20


class OwnServer(http.client.HTTPConnection):
    """A connection that is closed before a word is said where somebody else has the other end."""

    def connect(self) -> None:
        super().connect()
        prove_other_end(self.sock, os.getuid())


def get(port: int, path: str) -> http.client.HTTPResponse:
    connection = OwnServer("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", path, headers={"Authorization": f"token {token()}"})
    return connection.getresponse()


def status(port: int) -> str:
    try:
        return str(get(port, "/api/status").status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def busy_kernels(port: int) -> int:
    """Raises OSError, HTTPException or ValueError where there is no such answer."""
    kernels = json.loads(get(port, "/api/kernels").read(MOST_BYTES))
    return sum(kernel["execution_state"] == "busy" for kernel in kernels)


def token() -> str:
    with TOKEN.open() as file:
        return file.read(100).strip()


def main() -> None:
    port, uid = int(settings()["port"]), os.getuid()
    if sys.argv[1:] == ["status"]:
        print(status(port))
        return
    running = processes(uid)
    work = []
    try:
        if busy := busy_kernels(port):
            work.append(f"{busy} busy kernel{'s' if busy > 1 else ''}")
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        if any("ipykernel" in process.command for process in running):
            work.append("kernels that JupyterLab cannot speak for")
    work += [f"{visible(name)} in a terminal" for name in busy_shells(running, servers(port, uid))]
    print(", ".join(work))
