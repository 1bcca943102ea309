"""Somebody who logs in anew, and tries before what must be refused."""

from collections.abc import Callable
from typing import Any

import paramiko

from deeprig import connection

Login = Callable[[], paramiko.SSHClient]


class Stranger(connection.Transport):
    """Tries the door before taking the right key, all in one connection.

    sshd turns an address away (PerSourcePenalties) whose connections end without a login.
    `wanted` is what sshd asks of who has nothing to show; `strange_key_refused` says that it did
    not take a key that was made just now.
    """

    wanted: tuple[str, ...] = ()
    strange_key_refused = False

    def auth_publickey(self, username: str, key: paramiko.PKey, *args: Any) -> list[str]:
        if not self.wanted:
            self._try(username)
        return [] if self.is_authenticated() else super().auth_publickey(username, key, *args)

    def _try(self, username: str) -> None:
        try:
            self.auth_none(username)
        except paramiko.BadAuthenticationType as refused:
            self.wanted = tuple(refused.allowed_types)
        else:
            self.wanted = ("nothing",)
            return
        try:
            super().auth_publickey(username, paramiko.ECDSAKey.generate())
        except paramiko.AuthenticationException:
            self.strange_key_refused = True
