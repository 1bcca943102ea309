"""What is said of a box whose sshd is too slow to answer, and of a link that is gone."""

import socket
import threading

import paramiko
import pytest

from deeprig.errors import DeeprigError
from deeprig.ssh import connection, dial, first_login
from deeprig.ssh.first_login import Target


def test_an_sshd_that_greets_and_then_says_nothing_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dial, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            client.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")
            client.recv(1)
            threading.Event().wait(3)
            client.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(DeeprigError, match="does not answer; is it on"):
            first_login.look(Target("127.0.0.1", server.getsockname()[1], "ai"), [])


def test_a_link_that_is_gone_is_an_error_of_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: paramiko.Transport, *args: object, **options: object) -> None:
        raise EOFError

    monkeypatch.setattr(paramiko.Transport, "open_channel", gone)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = connection.Transport(ours)
        with pytest.raises(paramiko.SSHException, match="is gone"):
            transport.open_channel("session")
