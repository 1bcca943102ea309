"""What can be done to boxes: every verb of `deeprig lab` is a function here."""

import secrets
import shutil
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab import container, guest, images, inventory_file, network, paths, shell
from lab.box import DEPLOY_USER, INSTALLERS_USER, Box, check_name, every, get
from lab.errors import fail
from lab.recipes import RECIPES

__all__ = [
    "Box", "check_name", "cut", "down", "every", "get", "reboot", "reinstall", "silent",
    "ssh_command", "up",
]  # fmt: skip

DEFAULT_OS = "debian-13"
Say = Callable[[str], None]


def silent(step: str) -> None:
    """For callers who want no progress."""


def up(name: str, *, os: str | None = None, bare: bool = False, say: Say = silent) -> Box:
    """The box, running, with SSH answering: made, started or just as it is.

    Where `bare` it is as an installer leaves it; else `deeprig bootstrap` has been there. A box
    that is there stays as it is. Raises DeeprigError where it cannot be, or has another system.
    """
    check_name(name)
    with paths.one_box(name):
        box = _reserve(name, os=os, bare=bare, say=say)
        if not box.installed:
            box = _install(box, say)
        _power_on(box, say)
        if not (box.bare or box.bootstrapped):
            _bootstrap(box, say)
    return box


def reboot(name: str, *, say: Say = silent) -> Box:
    """The box after a reboot of its own, SSH answering. Raises DeeprigError where it is off."""
    box = get(name)
    if not box.running:
        fail(f"{name} is off; `deeprig lab up {name}` starts it.")
    before = container.boot_id(name)
    say("reboot; waiting for SSH")
    container.ask_to_reboot(name)
    container.wait_for_login(name, box.host, console=box.console, not_boot=before)
    return box


def cut(name: str, *, off: bool = False, say: Say = silent) -> Box:
    """The box after a power cut: on again with SSH answering, or left `off`."""
    with paths.one_box(name):
        box = get(name)
        say("power cut")
        container.cut(name)
        if not off:
            _power_on(box, say)
    return box


def reinstall(name: str, *, bootstrap: bool = False, say: Say = silent) -> Box:
    """The box with a fresh system disk and new host keys; name, address and data disk stay.

    It is bare then, until `deeprig bootstrap --reinstalled` or `bootstrap` here.
    """
    with paths.one_box(name):
        box = get(name)
        say("power off")
        container.cut(name)
        box = _install(box, say)
        _power_on(box, say)
        if bootstrap:
            _bootstrap(box, say)
    return box


def down(name: str, *, say: Say = silent) -> None:
    """The box is gone, with its disks; with the last box the network goes too."""
    with paths.one_box(name):
        box = get(name)
        say("power off")
        container.cut(name)
        with paths.shared():
            shutil.rmtree(box.folder)
            left = every()
            images.discard_unused({Path(box.image) for box in left})
            if not left:
                network.remove()


def ssh_command(box: Box) -> tuple[list[str], dict[str, str]]:
    """The `ssh` that logs in, and its environment; host keys come from the box's own disk."""
    seen, askpass = box.folder / "host_keys", box.folder / "askpass"
    seen.write_text("".join(f"{box.host} {key}\n" for key in guest.host_keys(box.upper)))
    askpass.write_text(f"#!/bin/sh\necho {box.password}\n")
    askpass.chmod(0o700)
    port = container.ssh_port(box.name, box.host) or box.port
    command = ["ssh", "-F", "none", "-p", str(port), "-i", str(box.key), "-o", "IdentitiesOnly=yes"]
    command += ["-o", f"UserKnownHostsFile={seen}", "-o", "StrictHostKeyChecking=yes"]
    user = DEPLOY_USER if box.bootstrapped else INSTALLERS_USER
    environment = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    return [*command, f"{user}@{box.host}"], environment


def _reserve(name: str, *, os: str | None, bare: bool, say: Say) -> Box:
    """The box's entry, with an address of its own, and the network it will be in."""
    there = {box.name: box for box in every()}.get(name)
    os = os or (there.os if there else DEFAULT_OS)
    if there and there.os != os:
        fail(f"{name} is there with {there.os}; `deeprig lab down {name}` first, or another name.")
    image = there.image if there else str(images.ensure(os, say))
    with paths.shared():
        box = there or Box(
            name=name,
            kind="container",
            os=os,
            host=network.free_address({box.host for box in every()}),
            bare=bare,
            password="".join(secrets.choice(string.ascii_letters) for _ in range(16)),
            image=image,
        )
        network.ensure()
        box.save()
    return box


def _install(box: Box, say: Say) -> Box:
    """A fresh system disk, as an installer leaves it."""
    say("installing: name, keys, address, password")
    image = images.ensure(box.os, say)
    replace(box, installed=False).save()
    for part in ("upper", "work"):
        shutil.rmtree(box.folder / part, ignore_errors=True)
    guest.personalise(
        box.upper,
        image,
        name=box.name,
        address=box.host,
        password=box.password,
        netplan=RECIPES[box.os].netplan,
    )
    if not box.key.exists():
        shell.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(box.key))
    box.inventory.write_text(inventory_file.text(box))
    box = replace(box, image=str(image), installed=True)
    box.save()
    return box


def _bootstrap(box: Box, say: Say) -> None:
    """First contact, with nothing taken on trust: the lab knows which host keys it made."""
    from deeprig import bootstrap  # paramiko takes its time; most verbs do without

    say("bootstrap: the deploy user and its key")
    bootstrap.bootstrap(
        bootstrap.Target(hostname=box.host, port=box.port, user=INSTALLERS_USER),
        key=box.key,
        known_hosts=box.known_hosts,
        password=box.password,
        accept=lambda shown: shown in guest.fingerprints(box.upper),
        reinstalled=True,
    )


def _power_on(box: Box, say: Say) -> None:
    """Running, with SSH answering; fine if it is."""
    if not box.running:
        say("power on; waiting for SSH")
        container.power_on(box.name, image=Path(box.image), folder=box.folder, address=box.host)
    container.wait_for_login(box.name, box.host, console=box.console)
