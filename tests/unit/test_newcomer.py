"""What verify's newcomer finds out before it logs in, against an sshd of our own."""

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from deeprig.ssh import connection, known_hosts
from tests.host.newcomer import Stranger
from tests.unit import ssh_server
from tests.unit.ssh_server import Server


@pytest.fixture
def box() -> Iterator[Server]:
    with ssh_server.serve({}) as running:
        yield running


def logs_in(box: Server, folder: Path) -> Stranger:
    data = ssh_server.data(box, folder)
    label = known_hosts.label("127.0.0.1", box.port)
    Path(data["ssh_known_hosts_file"]).write_text(
        f"{label} {box.host_key.get_name()} {box.host_key.get_base64()}\n"
    )
    found = connection.connect(data, factory=Stranger).get_transport()
    assert isinstance(found, Stranger)
    assert found.is_authenticated()
    assert len(box.transports) == 1  # one connection for all of it
    return found


def only_the_right_key(box: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets in whose key lies in the folder."""
    right = ssh_server.data(box, folder)["ssh_key"]

    def check(self: Server, username: str, key: paramiko.PKey) -> int:
        fits = key.get_base64() == paramiko.ECDSAKey(filename=right).get_base64()
        return 0 if fits else 2  # paramiko's AUTH_SUCCESSFUL and AUTH_FAILED

    monkeypatch.setattr(Server, "check_auth_publickey", check)


def test_it_tries_what_must_be_refused_and_gets_in(
    box: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_right_key(box, tmp_path, monkeypatch)
    stranger = logs_in(box, tmp_path)
    assert stranger.wanted == ("publickey",)
    assert stranger.strange_key_refused


def test_a_door_that_also_takes_passwords_is_seen(
    box: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_right_key(box, tmp_path, monkeypatch)
    monkeypatch.setattr(Server, "get_allowed_auths", lambda *_: "publickey,password")
    assert logs_in(box, tmp_path).wanted == ("publickey", "password")


def test_a_door_that_takes_any_key_is_seen(box: Server, tmp_path: Path) -> None:
    assert not logs_in(box, tmp_path).strange_key_refused


def test_a_door_that_is_open_is_seen(
    box: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "check_auth_none", lambda *_: 0)  # paramiko's AUTH_SUCCESSFUL
    stranger = logs_in(box, tmp_path)
    assert stranger.wanted == ("nothing",)
    assert not stranger.strange_key_refused
