"""What can be done to boxes: every verb of `deeprig lab` is a function here."""

import secrets
import shutil
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import (
    container,
    guest,
    images,
    installation,
    network,
    paths,
    requirements,
    vm,
)
from lab.box import DEPLOY_USER, INSTALLERS_USER, Box, check_name, every, get
from lab.errors import fail
from lab.hardware import Hardware

__all__ = [
    "Box", "check_name", "cut", "down", "every", "get", "reboot", "reinstall", "silent",
    "ssh_command", "up",
]  # fmt: skip

DEFAULT_OS = "debian-13"
Say = Callable[[str], None]


def silent(step: str) -> None:
    """For callers who want no progress."""


def up(
    name: str,
    *,
    os: str | None = None,
    kind: str | None = None,
    bare: bool = False,
    packages: tuple[str, ...] = (),
    hardware: Hardware | None = None,
    say: Say = silent,
) -> Box:
    """The box, running, with SSH answering: made, started or just as it is.

    Where `bare` it is as an installer leaves it; else `deeprig bootstrap` has been there. A base
    system with more `packages` is built and cached for those who ask for just these. A box that is
    there stays as it is. Raises DeeprigError where it cannot be, or is another than asked for.
    """
    check_name(name)
    if hardware and kind != "vm":
        fail("a container has this machine's hardware; only --kind vm can choose its own.")
    new = Box(
        name=name,
        kind=kind or "container",
        os=os or DEFAULT_OS,
        host="",
        bare=bare,
        password="".join(secrets.choice(string.ascii_letters) for _ in range(16)),
        image="",
        packages=packages,
        hardware=hardware or Hardware(),
    )
    with paths.one_box(name):
        old = {box.name: box for box in every()}.get(name)
        if old:
            _check_same(old, os=os, kind=kind, hardware=hardware, packages=packages)
        box = _reserve(old or new, say)
        if not box.installed:
            box = installation.install(box, say)
        _power_on(box, say)
        if not (box.bare or box.bootstrapped):
            installation.bootstrap(box, say)
    return box


def reboot(name: str, *, say: Say = silent) -> Box:
    """The box after a reboot of its own, SSH answering. Raises DeeprigError where it is off."""
    box = get(name)
    if not box.running:
        fail(f"{name} is off; `deeprig lab up {name}` starts it.")
    say("reboot; waiting for SSH")
    if box.kind == "vm":
        vm.reboot(box)
        vm.wait_for_login(box)
        return box
    before = container.boot_id(name)
    container.ask_to_reboot(name)
    container.wait_for_login(name, box.host, console=box.console, not_boot=before)
    return box


def cut(name: str, *, off: bool = False, say: Say = silent) -> Box:
    """The box after a power cut: on again with SSH answering, or left `off`."""
    with paths.one_box(name):
        box = get(name)
        say("power cut")
        _power_off(box)
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
        _power_off(box)
        box = installation.install(box, say)
        _power_on(box, say)
        if bootstrap:
            installation.bootstrap(box, say)
    return box


def down(name: str, *, say: Say = silent) -> None:
    """The box is gone, with its disks; with the last box the network goes too."""
    with paths.one_box(name):
        box = get(name)
        say("power off")
        _power_off(box)
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
    port = _port(box) or box.port
    command = ["ssh", "-F", "none", "-p", str(port), "-i", str(box.key), "-o", "IdentitiesOnly=yes"]
    # On a VM's disk they may be others by now; then those that a deploy proved hold.
    known = f'UserKnownHostsFile="{seen}" "{box.known_hosts}"'
    command += ["-o", known, "-o", "StrictHostKeyChecking=yes"]
    user = DEPLOY_USER if box.bootstrapped else INSTALLERS_USER
    environment = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    return [*command, f"{user}@{box.host}"], environment


def _port(box: Box) -> int | None:
    """Where its sshd listens; a VM is dialled for that only if a deploy moved it once."""
    if box.kind == "container":
        return container.only_door(box.name) or container.ssh_port(box.name, box.host)
    return vm.ssh_port(box) if vm.known_ports(box.known_hosts) else None


def _check_same(there: Box, **asked: Any) -> None:
    """Raise DeeprigError where more was asked of the box than it is; what was left open is fine."""
    for what, value in asked.items():
        if value and (has := getattr(there, what)) != value:
            fail(
                f"{there.name} is there with {what} {has}; `deeprig lab down {there.name}` first, "
                "or another name."
            )


def _reserve(box: Box, say: Say) -> Box:
    """The box's entry, with an address of its own, and the network it will be in."""
    requirements.install(say, requirements.of(box.kind))
    if not box.image:
        box = replace(box, image=str(installation.image(box, say)))
    with paths.shared():
        if not box.host:
            box = replace(box, host=network.free_address({other.host for other in every()}))
        network.ensure()
        box.save()
    return box


def _power_off(box: Box) -> None:
    """At once, unwarned."""
    if box.kind == "vm":
        vm.cut(box)
    else:
        container.cut(box.name)


def _power_on(box: Box, say: Say) -> None:
    """Running, with SSH answering; fine if it is."""
    if not box.running and box.kind == "vm":
        vm.power_on(box, say)
    elif not box.running:
        container.power_on(box.name, image=Path(box.image), folder=box.folder, address=box.host)
    say("waiting for SSH")
    if box.kind == "vm":
        vm.wait_for_login(box)
    else:
        container.wait_for_login(box.name, box.host, console=box.console)
