"""What is kept of a way in that has been proved."""

from pathlib import Path
from types import SimpleNamespace

import paramiko

from deeprig import connection, known_hosts
from tasks import access_proof


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
