"""`deeprig plan`: what a run would decide and change, and why; reads only."""

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
from pyinfra.context import host

from deeprig import data, inventories, outlook, runs, stack_page, summary
from deeprig.erased import Reinstall
from deeprig.imagined_box import ImaginedBox
from deeprig.options import inventory_option, json_option, limit_option
from deeprig.outlook import Outlook
from deeprig.refusal import Refusal
from deeprig.settings import Rig, Storage

SYSTEMS = [f"{row['id']}-{row['version']}" for row in data.load("systems")["system"]]
SOURCES = click.Choice(["distro", "nvidia"])
DESCRIBING = (
    click.option(
        "--gpu", "gpus", multiple=True, metavar="NAME|ID",
        help='For a box you only think of: its card, as "RTX 3090" or 10de:2204; once for each.',
    ),
    click.option("--os", "system", type=click.Choice(SYSTEMS), help="Its system."),
    click.option("--driver-source", type=SOURCES, help="As Driver(source=)."),
    click.option("--cuda-source", type=SOURCES, help="As Cuda(source=)."),
    click.option("--branch", metavar="580", help="As Driver(branch=)."),
    click.option(
        "--flavour", type=click.Choice(["open", "proprietary"]), help="As Driver(flavour=)."
    ),
    click.option("--cuda", metavar="13.0", help="As Cuda(version=)."),
    click.option("--torch", metavar="2.14", help="As Python(torch=)."),
    click.option("--secure-boot", is_flag=True, help="Secure Boot is on there."),
)  # fmt: skip


def _describing(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(DESCRIBING):
        command = option(command)
    return command


@click.command()
@inventory_option
@limit_option
@json_option
@_describing
def plan(inventory: Path, limit: tuple[str, ...], as_json: bool, **described: Any) -> None:
    """What a run would decide and change, and why; reads only.

    For each box of the inventory: what stands in the way, what goes on it for its GPUs, what would
    change. With --gpu and --os: what would go on a box that you only think of; no box and no
    inventory is read. Exits 0, 1 where it refuses, 2 where it could not run.
    """
    imagined = ImaginedBox(**described)
    sys.exit(
        _imagined(imagined, as_json) if imagined.is_meant else _boxes(inventory, limit, as_json)
    )


def _imagined(box: ImaginedBox, as_json: bool) -> int:
    decided = box.decide()
    if as_json:
        print(json.dumps(stack_page.to_json(decided, today=date.today()), indent=2))
    else:
        lines = stack_page.lines(decided, torch=True, today=date.today())
        click.echo("\n".join([f"{box.said}:", *lines]))
    return 1 if isinstance(decided, Refusal) else 0


def _boxes(inventory: Path, limit: tuple[str, ...], as_json: bool) -> int:
    outlooks = []
    for name, box in inventories.load(inventory, limit):
        outlooks.append(_look(name, box))
        if not as_json:
            click.echo(outlook.page(outlooks[-1], date.today()))
    if as_json:
        print(json.dumps([outlook.to_json(one, date.today()) for one in outlooks], indent=2))
    elif len(outlooks) > 1:
        click.echo(summary.table([outlook.line(one) for one in outlooks]))
    return summary.code([outlook.line(one) for one in outlooks])


def _look(name: str, box: dict[str, Any]) -> Outlook:
    """What a run would do to one box, and what a reinstall of it would erase."""
    from deploy import build  # loads every task, which other verbs can do without
    from tasks.facts import WouldErase

    erased: list[Reinstall] = []

    def look(rig: Rig) -> None:
        build(rig)
        folder = (rig.storage or Storage()).folder
        erased.append(host.get_fact(WouldErase, folder=folder))

    report = runs.run(name, box, look, dry=True, progress=_progress(name))
    return Outlook(report=report, rig=box["rig"], reinstall=erased[0] if erased else None)


def _progress(name: str) -> runs.Progress:
    def say(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{name}: {line}"[:100], nl=False, err=True)

    return say
