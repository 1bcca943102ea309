"""Making a box: its system disk as an installer leaves it, and the first contact."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab import box_disk, guest, images, inventory_file, qemu, shell, vm
from lab.box import INSTALLERS_USER, Box
from lab.recipes import RECIPES

Say = Callable[[str], None]


def install(box: Box, say: Say) -> Box:
    """A fresh system disk, as an installer leaves it."""
    base = image(box, say)
    say("installing: name, keys, address, password")
    replace(box, installed=False).save()
    for part in ("upper", "work"):
        shutil.rmtree(box.folder / part, ignore_errors=True)
    guest.personalise(
        box.upper,
        base,
        name=box.name,
        address=box.host,
        password=box.password,
        netplan=RECIPES[box.os].netplan,
        card=qemu.CARD_NAME if box.kind == "vm" else "eth0",
    )
    if not box.key.exists():
        shell.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(box.key))
    if box.kind == "vm":
        box_disk.install(box, base)
        vm.fresh_variables(box)
        disk = box_disk.data_disk(box)
        box.inventory.write_text(inventory_file.text(box, folder="/data", data_disk=disk))
    else:
        box.inventory.write_text(inventory_file.text(box))
    box = replace(box, image=str(base), installed=True)
    box.save()
    return box


def bootstrap(box: Box, say: Say) -> None:
    """First contact, with nothing taken on trust: the lab knows which host keys it made."""
    # paramiko takes its time; most verbs do without
    from deeprig.bootstrap import first_contact

    say("bootstrap: the deploy user and its key")
    first_contact.bootstrap(
        first_contact.Target(hostname=box.host, port=box.port, user=INSTALLERS_USER),
        key=box.key,
        known_hosts=box.known_hosts,
        password=box.password,
        accept=lambda shown: shown in guest.fingerprints(box.upper),
        reinstalled=True,
    )
    if box.kind == "vm":
        box.bootstrap_rule.parent.mkdir(parents=True, exist_ok=True)
        box.bootstrap_rule.touch()


def image(box: Box, say: Say) -> Path:
    """The base system that the box is to stand on."""
    return images.ensure(box.os, say, kind=box.kind, packages=box.packages)
