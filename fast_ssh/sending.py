"""A paramiko transport that does not hold packets back, and takes no more than was asked for."""

import socket
import time
from typing import Any

import paramiko
from pyinfra import logger
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state

from fast_ssh.frames import MOST_BYTES, MOST_LINES
from fast_ssh.wire import QUESTION_SECONDS, TASK_SECONDS

REQUEST_SECONDS = 60


class Bounded(paramiko.Channel):
    """A channel that ends, with status -1, where a host answers without end.

    `refused` says then what was wrong.
    """

    refused = ""
    tells = False  # whether the transport is told so, where nobody who waits looks at `refused`
    most: int | None = 2 * MOST_BYTES  # of both streams; None for any amount
    ends: float | None = None
    _bytes = 0
    _lines = 0

    def recv(self, nbytes: int) -> bytes:
        return self._take(lambda: super(Bounded, self).recv(nbytes))

    def recv_stderr(self, nbytes: int) -> bytes:
        return self._take(lambda: super(Bounded, self).recv_stderr(nbytes))

    def invoke_subsystem(self, subsystem: Any) -> None:
        """SFTP moves files, of whatever size; those who fetch one know how large it may be."""
        self.most = self.ends = None
        super().invoke_subsystem(subsystem)

    def recv_exit_status(self) -> int:
        left = None if self.ends is None else max(0.0, self.ends - time.monotonic())
        if not self.status_event.wait(left):
            self._refuse("it does not say how its command ended")
        return self.exit_status

    def _wait_for_event(self) -> None:
        """For the answer to a request, such as that a command may begin."""
        self.event.wait(REQUEST_SECONDS)
        if not self.event.is_set():
            self._refuse("it does not take a command")
            raise paramiko.SSHException(self.refused)
        super()._wait_for_event()  # type: ignore[misc]  # paramiko carries no types for it

    def _take(self, receive: Any) -> bytes:
        patience, self.timeout = self.timeout, self._patience()
        try:
            data: bytes = receive()
        except TimeoutError:
            if self.ends is None or time.monotonic() < self.ends:
                raise
            return self._refuse("it answers for too long")
        finally:
            self.timeout = patience
        if self.most is None:
            return data
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        if self._bytes > self.most or self._lines > MOST_LINES:
            return self._refuse(f"it answers with more than {self.most // 2**20} MiB")
        if data and self.ends is not None and time.monotonic() >= self.ends:
            return self._refuse("it answers for too long")
        return data

    def _patience(self) -> float | None:
        if self.ends is None:
            return self.timeout
        left = max(0.001, self.ends - time.monotonic())
        return left if self.timeout is None else min(left, self.timeout)

    def _refuse(self, why: str) -> bytes:
        if not self.refused:
            self.refused = why
            self.close()
            self.exit_status = -1
            self.status_event.set()
            if self.tells and isinstance(self.transport, Transport):
                self.transport.complain(why)
        return b""


def bound(
    channel: paramiko.Channel, *, most: int | None = Bounded.most, seconds: float | None = None
) -> Bounded:
    """The same channel with these limits; `seconds` is for all that comes, from now on."""
    channel.__class__ = Bounded
    assert isinstance(channel, Bounded)
    channel.most, channel.tells = most, False
    channel.ends = None if seconds is None else time.monotonic() + seconds
    return channel


def unbound(channel: paramiko.Channel) -> paramiko.Channel:
    """The same channel without limits, for whoever keeps nothing of what comes."""
    if isinstance(channel, Bounded):
        channel.most = channel.ends = None
    return channel


class Transport(paramiko.Transport):
    """Its channels are bounded from the beginning."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.channel_timeout = REQUEST_SECONDS

    def open_channel(self, *args: Any, **options: Any) -> paramiko.Channel:
        seconds = TASK_SECONDS if _tasks_run() else QUESTION_SECONDS
        channel = bound(super().open_channel(*args, **options), seconds=seconds)
        channel.tells = True
        return channel

    def complain(self, why: str) -> None:
        """Where a channel was ended and only its status says so."""
        logger.error("%s: %s; nothing more is read from it", self.getpeername()[0], why)


def _tasks_run() -> bool:
    """Whether pyinfra has come to its operations; before them, and in a plan, it only asks."""
    return bool(ctx_state.isset() and ctx_state.get().current_stage == StateStage.Execute)


def transport_factory(sock: Any, **options: Any) -> paramiko.Transport:
    """paramiko leaves Nagle's algorithm on, which costs a delayed acknowledgement each time."""
    if hasattr(sock, "setsockopt"):  # the channel of a jump host is no socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Transport(sock, **options)
