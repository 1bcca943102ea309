"""What is kept of a way in that has been proved."""

from pathlib import Path
from types import SimpleNamespace

import paramiko
import pytest

from deeprig.ssh import connection, known_hosts
from tasks import access_proof

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEtRYYbJlM1KVX8OTlvBnEb0KImc8tqI6b4cU4FxKGE"


def test_a_door_that_was_moved_by_hand_is_remembered_with_the_one_it_took_the_place_of(
    tmp_path: Path,
) -> None:
    """Else it would be dialled only as long as the inventory has its number."""
    pins = tmp_path / "known_hosts"
    known_hosts.pin(pins, "rig1", 22, paramiko.ECDSAKey.generate())
    data = connection.data(
        hostname="rig1", user="deeprig", port=22, new_port=2222, key=None, known_hosts=pins
    ) | {"ssh_port": 2222}  # 22 does not answer
    connector = SimpleNamespace(client=None, data={})
    host = SimpleNamespace(connector=connector, data=SimpleNamespace(dict=lambda: data))
    access_proof._remember_door(host, data, 2222)  # type: ignore[arg-type]
    assert known_hosts.doors(pins, "rig1", 22) == (2222, 22)
    assert connector.data == {"ssh_port": 2222}


@pytest.mark.parametrize("pinned", [paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(2048)])
def test_a_box_that_is_known_by_a_key_that_goes_is_known_by_the_one_that_stays(
    tmp_path: Path, pinned: paramiko.PKey
) -> None:
    """sshd offers no ECDSA after a deploy, and another RSA key after one with strict."""
    pins = tmp_path / "known_hosts"
    known_hosts.pin(pins, "rig1", 22, pinned)
    data = {"ssh_hostname": "rig1", "ssh_known_hosts_file": str(pins)}
    asked: list[str] = []

    def get_fact(fact: object, script: str) -> str:
        asked.append(script)
        return f"{ED25519} root@rig1"

    host = SimpleNamespace(
        name="rig1", connector=SimpleNamespace(client=None), get_fact=get_fact,
        data=SimpleNamespace(dict=lambda: data),
    )  # fmt: skip
    for _ in range(2):
        assert access_proof.know_host_key(None, host)  # type: ignore[arg-type]
    assert [key.get_name() for key in known_hosts.keys_of(pins, "rig1", 22)] == [
        pinned.get_name(),
        "ssh-ed25519",
    ]
    assert len(asked) == 1  # it is known now


@pytest.mark.parametrize(
    "said", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2E="]
)
def test_what_is_no_such_key_is_not_pinned(tmp_path: Path, said: str) -> None:
    host = SimpleNamespace(get_fact=lambda fact, script: said)
    assert access_proof._ed25519(host) is None  # type: ignore[arg-type]
