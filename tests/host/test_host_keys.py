"""The SSH host keys of the box are kept here, for the day it is reinstalled."""

from typing import Any

import pytest
from testinfra.host import Host

from deeprig.settings import Rig
from deeprig.ssh import connection, host_key_backup
from tasks.host_keys import HostKeyFingerprints


@pytest.mark.remedy("run pyinfra with deploy.py again; it keeps the keys that the box has now")
def test_the_kept_host_keys_are_those_of_the_box(
    host: Host, data: dict[str, Any], rig: Rig
) -> None:
    if not rig.ssh.keep_host_keys:
        pytest.skip("the host keys of this box are not kept (Ssh.keep_host_keys)")
    port = int(data.get("bootstrap_port") or 22)
    pins = connection.pins_of(data)
    file = host_key_backup.file_of(pins, data["ssh_hostname"], port)
    with host.sudo():
        now = host.check_output(HostKeyFingerprints().command()).splitlines()
    assert host_key_backup.are_kept(file, recipient=rig.ssh.keep_host_keys, fingerprints=now)
    assert len(now) > 0
