"""One box over SSH for as long as a verb works with it: a link that was lost is opened anew."""

import shlex
from typing import Any

import paramiko

from deeprig.ssh import connection, root_shell
from deeprig.ssh.box_source import BOX


class Session:
    """`program` is the command of the box's program that answers."""

    program = ""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name, self.data = name, data
        self._client: paramiko.SSHClient | None = None

    def close(self) -> None:
        if self._client:
            self._client.close()
        self._client = None

    def _transport(self) -> paramiko.Transport:
        """Raises DeeprigError where there is no login."""
        if self._client is None or connection.dead_link(self._client):
            self.close()
            self._client = connection.connect(self.data)
        transport = self._client.get_transport()
        assert transport is not None
        return transport

    def _command(self, *words: str) -> str:
        return root_shell.as_root(self.data) + shlex.join([BOX, self.program, *words])
