"""testinfra's view of a box, through the same checked connection as everything else."""

import functools
import shlex
from typing import Any

import paramiko
from testinfra.backend.base import CommandResult
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from deeprig import connection
from fast_ssh.errors import NoShell, ShellLost
from fast_ssh.frames import USER
from fast_ssh.kept import open_shell
from fast_ssh.shell import Shell


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
        self._keeps_a_shell = data["rig"].connection == "fast"
        self._shell: Shell | None = None

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        return connection.connect(self.data)

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        """In one shell that is kept, where the box is reached so: a round trip less for each."""
        if not self._keeps_a_shell:
            return super()._exec_command(command)  # type: ignore[no-any-return]
        transport = self.client.get_transport()
        assert transport is not None
        try:
            if self._shell is None or self._shell.lost:
                self._shell = open_shell(transport)
            done = self._shell.run(USER, f'"$SHELL" -c {shlex.quote(command.decode())}')
        except NoShell:
            self._keeps_a_shell = False
            return super()._exec_command(command)  # type: ignore[no-any-return]
        except ShellLost as lost:
            raise paramiko.SSHException(str(lost)) from None
        return done.code, done.stdout, done.stderr

    def result(self, rc: int, cmd: bytes, stdout: str | bytes, stderr: str | bytes) -> Answer:
        return Answer(backend=self, exit_status=rc, command=cmd, _stdout=stdout, _stderr=stderr)


def connect(name: str, data: dict[str, Any]) -> Host:
    """The box of an inventory, logged in to. Raises DeeprigError where there is no login."""
    backend = Backend(name, data)
    backend.client  # noqa: B018  # now, so that a box that is off is not a failed check
    host = Host(backend)
    backend.set_host(host)
    return host
