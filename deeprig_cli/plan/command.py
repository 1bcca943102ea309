"""`deeprig plan`: what a run would decide and change, and why; reads only."""

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
from pyinfra.context import host

from deeprig import catalog, inventories
from deeprig.preflight import conditions
from deeprig.resolver.refusal import Refusal
from deeprig.runner import runs
from deeprig.settings import Rig, Storage
from deeprig.ui import screen, summary
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig_cli.plan import report, stack_report
from deeprig_cli.plan.hypothetical import ImaginedBox
from deeprig_cli.plan.report import PlanReport

SYSTEMS = [f"{row['id']}-{row['version']}" for row in catalog.load("systems")["system"]]
SOURCES = click.Choice(["distro", "nvidia"])
DESCRIBING = (
    click.option(
        "--gpu", "gpus", multiple=True, metavar="NAME|ID",
        help='For a box you only think of: its card, as "RTX 3090", "2 x 3090" or 10de:2204; '
        "once for each kind.",
    ),
    click.option("--os", "system", type=click.Choice(SYSTEMS), help="Its system."),
    click.option(
        "--arch", "architecture", type=click.Choice(["amd64", "arm64"]),
        help="Its processor; by its GPUs, or else amd64.",
    ),
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
@click.option("--exit-code", "strict", is_flag=True, help="Exit 1 where a run would change a box.")
@_describing
def plan(
    inventory: Path, limit: tuple[str, ...], as_json: bool, strict: bool, **described: Any
) -> None:
    """What a run would decide and change, and why; reads only.

    For each box of the inventory: what stands in the way, what goes on it for its GPUs, what would
    change, and who may have caused it since the last run. With --gpu and --os: what would go on a
    box that you only think of; no box and no inventory is read. Exits 0, 1 where it refuses (with
    --exit-code also where it would change something), 2 where it could not run.
    """
    imagined = ImaginedBox(**described)
    sys.exit(
        _imagined(imagined, as_json)
        if imagined.is_meant
        else boxes(inventory, limit, as_json=as_json, strict=strict)
    )


def _imagined(box: ImaginedBox, as_json: bool) -> int:
    decided = box.decide()
    if as_json:
        screen.as_json(stack_report.to_json(decided, today=date.today()), indent=2)
    else:
        lines = stack_report.lines(decided, torch=True, today=date.today())
        screen.echo("\n".join([f"{box.said}:", *lines]))
    return 1 if isinstance(decided, Refusal) else 0


def boxes(inventory: Path, limit: tuple[str, ...], *, as_json: bool, strict: bool) -> int:
    """Look at these boxes, print what was seen; the exit code of `deeprig plan`."""
    reports = []
    for name, box in inventories.load(inventory, limit):
        reports.append(_look(name, box))
        if not as_json:
            screen.echo(report.page(reports[-1], date.today()))
    if as_json:
        screen.as_json([report.to_json(one, date.today()) for one in reports], indent=2)
    elif len(reports) > 1:
        screen.echo(summary.table([report.line(one) for one in reports]))
    code = summary.code([report.line(one) for one in reports])
    return code or (max((one.strict_status for one in reports), default=0) if strict else 0)


def _look(name: str, box: dict[str, Any]) -> PlanReport:
    """What a run would do to one box, and what a reinstall of it would erase."""
    from deeprig.operations.facts import InTheWay, SinceLastRun, WouldErase
    from deploy import build  # loads every task, which other verbs can do without
    from tasks import base, manifest

    facts: dict[str, Any] = {}

    def look(rig: Rig) -> None:
        if base.may_become_root():  # first, for they are of use too where the run refuses
            facts["conditions"] = host.get_fact(InTheWay, script=conditions.script(rig))
            facts["since"] = host.get_fact(SinceLastRun, path=manifest.PATH)
        build(rig)
        folder = (rig.storage or Storage()).folder
        facts["reinstall"] = host.get_fact(WouldErase, folder=folder)

    done = runs.run(name, box, look, dry=True, progress=progress(name))
    return PlanReport(report=done, rig=box["rig"], **facts)


def progress(name: str) -> runs.Progress:
    """What is done at the moment, on a terminal."""

    def say(line: str) -> None:
        if sys.stderr.isatty():
            screen.rewrite(f"{name}: {line}")

    return say
