"""An inventory for exactly one box, written as its owner would write it."""

import json
from pathlib import Path
from typing import Protocol

CERTIFICATES = Path("/usr/local/share/ca-certificates")

TEMPLATE = '''\
"""{name}, as `pyinfra THIS_FILE deploy.py` takes it."""

from deeprig.settings import Notebook, Python, Rig, Storage{classes}, box

rigs = [
    box(
        "{name}",
        hostname="{host}",
        port={port},
        user="{user}",
        key={key},
        known_hosts={known_hosts},
        rig=Rig(
{users}            notebook=Notebook(user="ai"),
            python=Python(python="system"),
            storage=Storage({storage}),
            ca_certificates=({certificates}),
        ),
    )
]
'''


class Machine(Protocol):
    """What an inventory says about a box."""

    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def key(self) -> Path: ...
    @property
    def known_hosts(self) -> Path: ...


def text(
    box: Machine,
    *,
    user: str = "deeprig",
    work_users_key: str = "",
    folder: str = "/mnt/data-disk",
    data_disk: str = "",
) -> str:
    """The Python source. The box trusts whom this machine trusts, so apt and pip work in it.

    With `work_users_key`, a public key, the work user is made by the deploy. `data_disk` is the
    UUID of the file system that goes to `folder`.
    """
    disk = f'disks=[Disk(at={json.dumps(folder)}, uuid="{data_disk}")]'
    classes = [*(["Disk"] if data_disk else []), *(["User"] if work_users_key else [])]
    files = sorted(CERTIFICATES.glob("*.crt"))
    return TEMPLATE.format(
        name=box.name,
        host=box.host,
        port=box.port,
        user=user,
        storage=f"folder={json.dumps(folder)}" + (f", {disk}" if data_disk else ""),
        classes="".join(f", {name}" for name in classes),
        users=f'            users=[User(name="ai", keys=[{json.dumps(work_users_key)}])],\n'
        if work_users_key
        else "",
        key=json.dumps(str(box.key)),
        known_hosts=json.dumps(str(box.known_hosts)),
        certificates="".join(f"{json.dumps(str(file))}, " for file in files).rstrip(),
    )
