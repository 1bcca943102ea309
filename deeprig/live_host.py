"""testinfra's view of a box, through the same checked connection as everything else."""

import functools
from typing import Any

import paramiko
from testinfra.backend.base import CommandResult
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from deeprig import connection


class Answer(CommandResult):  # type: ignore[misc]  # testinfra carries no types
    """What a command came to; where it stands in a failed check, one readable line."""

    def __repr__(self) -> str:
        said = (self.stderr or self.stdout).strip().splitlines()
        return f"`{self.command.decode(errors='replace')}`: {said[-1] if said else 'no output'}"


class Backend(ParamikoBackend):  # type: ignore[misc]
    """paramiko, but with pinned host keys, packets sent at once, and one connection."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(name)
        self.data = data

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        return connection.connect(self.data)

    def result(self, rc: int, cmd: bytes, stdout: str | bytes, stderr: str | bytes) -> Answer:
        return Answer(backend=self, exit_status=rc, command=cmd, _stdout=stdout, _stderr=stderr)


def connect(name: str, data: dict[str, Any]) -> Host:
    """The box of an inventory, logged in to. Raises DeeprigError where there is no login."""
    backend = Backend(name, data)
    backend.client  # noqa: B018  # now, so that a box that is off is not a failed check
    host = Host(backend)
    backend.set_host(host)
    return host
