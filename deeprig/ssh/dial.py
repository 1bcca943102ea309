"""The one place that opens a way to a box's sshd: from here, or through what the owner's ssh
configuration names.
"""

import os
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress

from deeprig.ssh import ssh_config
from deeprig.ssh.ssh_config import Entry
from deeprig.ui.visible import visible

CONNECT_SECONDS = 10
PROXY_SECONDS = 30  # a login on each jump host, and what lies behind
END_SECONDS = 2
LONGEST_REASON = 300
BEHIND = "open failed: "  # how OpenSSH says that a jump host does not reach what is behind it


class NoWay(OSError):
    """What leads to the box does not, and says why; `before_it` where it did not get to the box."""

    def __init__(self, why: str, *, before_it: bool) -> None:
        super().__init__(why)
        self.before_it = before_it


class Refused(NoWay, ConnectionRefusedError):
    """It leads to the box, where nobody listens at that port."""


class Silent(NoWay, TimeoutError):
    """Nothing came back."""


class Proxied:
    """What stands in for a socket: the input and output of a program that leads to the box."""

    def __init__(self, command: str) -> None:
        self._ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # for as long as this is used
        shell = os.environ.get("SHELL") or "/bin/sh"  # as OpenSSH does it
        with theirs:
            self._program = subprocess.Popen(
                [shell, "-c", f"exec {command}"],
                stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._said,
                start_new_session=True,  # else Ctrl-C would reach it before us
            )  # fmt: skip
        self.send, self.recv, self.fileno = self._ours.send, self._ours.recv, self._ours.fileno
        self.settimeout = self._ours.settimeout

    @property
    def _closed(self) -> bool:
        """What paramiko asks of a socket."""
        return self._ours.fileno() == -1

    def is_answered(self, seconds: float) -> bool:
        """Whether something speaks at the other end: an sshd says its name at once."""
        self._ours.settimeout(seconds)
        try:
            return bool(self._ours.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False

    @property
    def why(self) -> str:
        """What the program said at last, of the way or of the box behind it."""
        lines = self._lines()
        behind = [line.partition(BEHIND)[2] for line in lines if BEHIND in line]
        reason = (behind or lines or ["nothing comes back"])[-1]
        return reason.removeprefix("connect failed: ").rstrip(".")[:LONGEST_REASON]

    @property
    def got_to_the_box(self) -> bool:
        """Whether it was the box that did not answer, as far as the program says."""
        with suppress(subprocess.TimeoutExpired):
            self._program.wait(END_SECONDS)
        running = self._program.poll() is None
        return running or any(BEHIND in line for line in self._lines())

    def _lines(self) -> list[str]:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return [visible(line.strip()) for line in lines if line.strip()]

    def close(self) -> None:
        """End it; nothing of it is left running."""
        self._ours.close()
        with suppress(ProcessLookupError):
            os.killpg(self._program.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._program.wait(END_SECONDS)


Socket = socket.socket | Proxied


def by(entry: Entry, port: int, user: str | None = None, *, seconds: float | None = None) -> Socket:
    """An open way to this port, in `seconds` at most. Raises OSError."""
    command = entry.proxy(port, user)
    if not command:
        return socket.create_connection((entry.hostname, port), timeout=seconds or CONNECT_SECONDS)
    opened = Proxied(command)
    if not opened.is_answered(PROXY_SECONDS if seconds is None else seconds + CONNECT_SECONDS):
        before_it = bool(entry.jumps) and not opened.got_to_the_box
        why = opened.why
        opened.close()
        kind = NoWay if before_it else Refused if "refused" in why else Silent
        raise kind(f"through {entry.through} ({why})", before_it=before_it)
    return opened


def addresses(entry: Entry, port: int) -> set[str]:
    """Where this port is dialled from here; none where only another host knows the name."""
    try:
        answers = socket.getaddrinfo(entry.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(at[0]).partition("%")[0] for *_, at in answers}


def to(hostname: str, port: int, *, seconds: float | None = None) -> Socket:
    """An open way to a port of this host, as the owner's ssh would go. Raises OSError."""
    return by(ssh_config.of(hostname), port, seconds=seconds)
