"""The boxes, and what can be done to them: every verb of `deeprig lab` is a function here."""

import json
import re
import secrets
import shutil
import string
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lab import container, guest, images, inventory_file, network, paths, shell
from lab.errors import fail
from lab.recipes import RECIPES

INSTALLERS_USER = "ai"
DEPLOY_USER = "deeprig"
DEFAULT_OS = "debian-13"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Box:
    """One machine as the lab remembers it, in `state.json` of its folder."""

    name: str
    kind: str
    os: str
    host: str
    bare: bool
    password: str
    image: str
    installed: bool = False
    port: int = 22

    @property
    def folder(self) -> Path:
        return paths.state() / self.name

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.py"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def upper(self) -> Path:
        """What differs from the base system, as files; written by the box while it runs."""
        return self.folder / "upper"

    @property
    def running(self) -> bool:
        return container.running(self.name)

    @property
    def bootstrapped(self) -> bool:
        """Whether `deeprig bootstrap` has been here: this rule is the last thing it writes."""
        return (self.upper / "etc/sudoers.d/50-deeprig").exists()

    def public(self) -> dict[str, Any]:
        """What `deeprig lab up --json` prints."""
        ready = self.bootstrapped and not self.bare
        shown: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "os": self.os,
            "host": self.host,
            "port": self.port,
            "user": DEPLOY_USER if ready else INSTALLERS_USER,
            "key": str(self.key) if ready else None,
            "inventory": str(self.inventory),
        }
        return shown if ready else shown | {"password": self.password}

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished, file = self.folder / "state.new", self.folder / "state.json"
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.replace(file)


def silent(step: str) -> None:
    """For callers who want no progress."""


def check_name(name: str) -> str:
    """The name. Raises DeeprigError where it would be no host name."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", name):
        fail(
            f"{name!r} is no name for a box; take lowercase letters, digits and dashes, "
            "a letter first, 32 at most, such as rig-1."
        )
    return name


def every() -> list[Box]:
    """All boxes, by name."""
    files = sorted(paths.state().glob("[!.]*/state.json"))
    return [Box(**json.loads(file.read_text())) for file in files]


def get(name: str) -> Box:
    """The box of that name. Raises DeeprigError naming those there are."""
    boxes = {box.name: box for box in every()}
    if name not in boxes:
        there = f"there are: {', '.join(boxes)}" if boxes else "there is none"
        fail(f"no box is named {name!r}; {there}. `deeprig lab up {name}` makes it.")
    return boxes[name]


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
    command = ["ssh", "-F", "none", "-i", str(box.key), "-o", "IdentitiesOnly=yes"]
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
