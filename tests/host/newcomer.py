"""Somebody who logs in anew, and tries before what must be refused."""

import time
from collections.abc import Callable
from typing import Any

import paramiko

from deeprig.ssh import connection

Login = Callable[[], paramiko.SSHClient]
# More than any of these commands prints; a check that fails shows what it got many times over.
MOST_SAID = 2**16
LOOK_SECONDS = 0.01


def says(login: Login, command: str, *, seconds: float = 60) -> tuple[bytes, bytes]:
    """What a command prints and complains of in that login; no more is read than any of these has,
    nor for longer.
    """
    transport = login().get_transport()
    assert transport is not None
    channel = transport.open_session()
    channel.settimeout(seconds)
    ends = time.monotonic() + seconds
    out, err = bytearray(), bytearray()
    try:
        channel.exec_command(command)
        # Both, as they come: one that nobody reads fills the window that they share.
        while time.monotonic() < ends and max(len(out), len(err)) < MOST_SAID:
            over = channel.exit_status_ready() and channel.eof_received
            waiting = channel.recv_ready(), channel.recv_stderr_ready()
            if waiting[0]:
                out += channel.recv(MOST_SAID - len(out))
            if waiting[1]:
                err += channel.recv_stderr(MOST_SAID - len(err))
            if over and not any(waiting):
                break
            if not any(waiting):
                if channel.closed:
                    break
                time.sleep(LOOK_SECONDS)
        return bytes(out), bytes(err)
    finally:
        channel.close()


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
