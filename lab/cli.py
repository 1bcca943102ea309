"""`deeprig lab`: throwaway machines from the command line."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click

from lab import boxes, console, root
from lab.hardware import CARDS, STAND_INS, Hardware
from lab.recipes import RECIPES


def stopwatch() -> Callable[[str], None]:
    """A progress line on stderr for each step: how long so far, and what comes now."""
    started = time.monotonic()

    def say(step: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {step}", file=sys.stderr, flush=True)

    return say


def show(box: boxes.Box, *, as_json: bool) -> None:
    """The box on stdout."""
    if as_json:
        print(json.dumps(box.public()))
    else:
        for name, value in box.public().items():
            print(f"{name:10} {value if value is not None else '-'}")


json_option = click.option("--json", "as_json", is_flag=True, help="JSON on one line.")


@click.group()
def lab() -> None:
    """Throwaway machines, real enough to believe."""


def hardware_options(verb: Callable[..., None]) -> Callable[..., None]:
    """What a VM may be built of; the verb gets it as `hardware`, None where nothing was chosen."""

    @click.option("--memory", type=click.IntRange(min=512), metavar="MIB", help="VM: its memory.")
    @click.option("--cpus", "processors", type=click.IntRange(min=1), help="VM: its processors.")
    @click.option("--disk", "disks", multiple=True, metavar="SIZE", help="VM: a blank disk more.")
    @click.option("--nic", type=click.Choice(list(CARDS)), help="VM: its network card.")
    @click.option("--iommu", is_flag=True, help="VM: with a virtual IOMMU.")
    @click.option(
        "--pci",
        multiple=True,
        metavar="DEVICE",
        help=f"VM: a stand-in device behind a PCIe port: {', '.join(STAND_INS)}; gpu:8x4 says "
        "8 GT/s on 4 lanes.",
    )
    @click.option("--secure-boot", is_flag=True, help="VM: with Microsoft's keys, as boards have.")
    @wraps(verb)
    def with_hardware(**values: Any) -> None:
        chosen = {field.name: values.pop(field.name) for field in fields(Hardware)}
        chosen = {name: value for name, value in chosen.items() if value}
        verb(hardware=Hardware(**chosen) if chosen else None, **values)

    return with_hardware


@lab.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["container", "vm"]))
@click.option("--os", "system", type=click.Choice(list(RECIPES)), default=None)
@click.option("--bare", is_flag=True, help="As an installer leaves it: a password, no key.")
@click.option("--package", "packages", multiple=True, help="In the base system as well.")
@hardware_options
@json_option
@root.needed
def up(
    name: str,
    kind: str | None,
    system: str | None,
    bare: bool,
    packages: tuple[str, ...],
    hardware: Hardware | None,
    as_json: bool,
) -> None:
    """Make the box NAME, or start it if it is off, and show it."""
    box = boxes.up(
        name, os=system, kind=kind, bare=bare, packages=packages, hardware=hardware, say=stopwatch()
    )
    show(box, as_json=as_json)


@lab.command()
@click.argument("name")
@root.needed
def down(name: str) -> None:
    """Take the box NAME away, with its disks."""
    boxes.down(name, say=stopwatch())


@lab.command("list")
@json_option
@root.needed
def list_(as_json: bool) -> None:
    """The boxes there are."""
    rows = [box.public() | {"running": box.running} for box in boxes.every()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        power = "running" if row["running"] else "off"
        what = f"{row['kind']:9} {row['os']:12} {row['host']:15}"
        print(f"{row['name']:16} {what} {row['user']:8} {power}")
    if not rows:
        print("no boxes; `deeprig lab up NAME` makes one", file=sys.stderr)


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@root.needed
def ssh(name: str, command: tuple[str, ...]) -> None:
    """A shell on the box NAME, or one COMMAND there."""
    login, environment = boxes.ssh_command(boxes.get(name))
    os.execvpe("ssh", [*login, *command], os.environ | environment)


@lab.command("console")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@root.needed
def console_(name: str, follow: bool) -> None:
    """What the box NAME has written on its console."""
    log = boxes.get(name).console
    if follow:
        os.execvp("tail", ["tail", "-n", "+1", "-F", str(log)])
    print(console.text(log), end="")


@lab.command()
@click.argument("name")
@json_option
@root.needed
def reboot(name: str, as_json: bool) -> None:
    """Restart the box NAME as its own `systemctl reboot` would."""
    show(boxes.reboot(name, say=stopwatch()), as_json=as_json)


@lab.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Leave it off.")
@json_option
@root.needed
def cut(name: str, off: bool, as_json: bool) -> None:
    """Cut the power of the box NAME, and switch it on again."""
    show(boxes.cut(name, off=off, say=stopwatch()), as_json=as_json)


@lab.command()
@click.argument("name")
@click.option("--bootstrap", is_flag=True, help="And the deploy user back on it.")
@json_option
@root.needed
def reinstall(name: str, bootstrap: bool, as_json: bool) -> None:
    """A fresh system disk and new host keys for NAME; address and data disk stay."""
    show(boxes.reinstall(name, bootstrap=bootstrap, say=stopwatch()), as_json=as_json)
