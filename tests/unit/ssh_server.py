"""A stand-in for a box: an SSH server in this process, which runs commands on this machine."""

import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko


class Transport(paramiko.Transport):
    """Lets a program's words wait until its request has its answer: a client that is told of the
    channel's end before takes the request for refused.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.unanswered: list[threading.Event] = []

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if threading.current_thread() is self:  # requests are heard and answered by this thread
            while self.unanswered:
                self.unanswered.pop().set()


class Server(paramiko.ServerInterface):
    """Lets everybody in. `commands` are those it was asked to run, a channel each.

    `shell` runs them, `most_channels` is sshd's MaxSessions.
    """

    shell: Sequence[str] = ("sh", "-c")
    most_channels: int | None = None

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.commands: list[str] = []
        self.transports: list[paramiko.Transport] = []
        self.host_key = paramiko.ECDSAKey.generate()
        self.more_host_keys: list[paramiko.PKey] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = Transport(sock)
            for key in (self.host_key, *self.more_host_keys):
                transport.add_server_key(key)
            # As sshd of 8.8 and later: RSA, but none of its signatures by SHA-1.
            offered = transport.get_security_options()
            offered.key_types = [name for name in offered.key_types if name != "ssh-rsa"]
            self.transports.append(transport)
            try:
                transport.start_server(server=self)
            except (paramiko.SSHException, EOFError):
                transport.close()

    def close(self) -> None:
        """End it. A thread that still waited for a login would take one of the next server's, which
        gets the number of this one's socket.
        """
        self.listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self.accepting.join()
        self.listener.close()

    def cut(self) -> None:
        """End every connection; new ones are let in."""
        for transport in self.transports:
            transport.close()
        self.transports.clear()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined, no-any-return]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.most_channels is not None and self._open_channels() >= self.most_channels:
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED  # type: ignore[attr-defined, no-any-return]
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined, no-any-return]

    def _open_channels(self) -> int:
        there = [channel for t in self.transports for channel in t._channels.values()]  # type: ignore[attr-defined]
        return len([channel for channel in there if not channel.closed])

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command.decode())
        process = subprocess.Popen(
            [*self.shell, command.decode()], env=self.env, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        transport, answered = channel.get_transport(), threading.Event()
        assert isinstance(transport, Transport)
        transport.unanswered.append(answered)
        threading.Thread(target=_serve, args=(channel, process, answered), daemon=True).start()
        return True


def _serve(
    channel: paramiko.Channel, process: "subprocess.Popen[bytes]", answered: threading.Event
) -> None:
    answered.wait(10)

    def copy(source: Any, send: Any) -> None:
        with suppress(OSError, EOFError):  # the link was cut
            while chunk := source.read(65536):
                send(chunk)

    outputs = [
        threading.Thread(target=copy, args=(process.stdout, channel.sendall), daemon=True),
        threading.Thread(target=copy, args=(process.stderr, channel.sendall_stderr), daemon=True),
    ]
    threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
    for output in outputs:
        output.start()
    for output in outputs:
        output.join()
    with suppress(OSError, EOFError):
        channel.send_exit_status(process.wait())
        channel.close()


def _feed(channel: paramiko.Channel, process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin
    with suppress(OSError):  # it ended before it had read all
        while chunk := channel.recv(65536):
            process.stdin.write(chunk)
    process.stdin.close()


@contextmanager
def serve(env: dict[str, str]) -> Iterator[Server]:
    server = Server(env)
    try:
        yield server
    finally:
        server.close()


def data(server: Server, folder: Path) -> dict[str, Any]:
    """pyinfra's host data for it."""
    key = folder / "key"
    if not key.exists():
        paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    return {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": server.port,
        "ssh_user": "me",
        "ssh_key": str(key),
        "ssh_known_hosts_file": str(folder / "known_hosts"),
        "ssh_config_file": str(folder / "no-config"),
        "fast_questions": str(folder / "questions"),
    }
