"""A first look at a box whose sshd is too slow to answer."""

import socket
import threading

import pytest

from deeprig import connection, login
from deeprig.errors import DeeprigError
from deeprig.login import Target


def test_an_sshd_that_greets_and_then_says_nothing_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            client.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")
            client.recv(1)
            threading.Event().wait(3)
            client.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(DeeprigError, match="does not answer; is it on"):
            login.look(Target("127.0.0.1", server.getsockname()[1], "ai"), [])
