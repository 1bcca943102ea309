"""`deeprig deploy`: the order of work of deploy.py, on boxes of the inventory."""

import sys
from pathlib import Path

import click

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.ui import screen
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig.ui.visible import visible
from deeprig_cli.deploy import report as deploy_report
from deeprig_cli.deploy import several
from deeprig_cli.deploy.outcome import Outcome
from deeprig_cli.plan import command as plan


@click.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@inventory_option
@limit_option
@click.option("--yes", is_flag=True, help="Ask nothing, and look nothing up beforehand.")
@click.option("--dry", is_flag=True, help="Only say what it would change; as `deeprig plan`.")
@json_option
def deploy(
    hosts: tuple[str, ...],
    inventory: Path,
    limit: tuple[str, ...],
    yes: bool,
    dry: bool,
    as_json: bool,
) -> None:
    """Bring boxes to the state that their settings describe, and again after any change.

    What `pyinfra inventory.py deploy.py` does in a checkout. It says what it would change and asks
    whether to. Exits 0: done; 1: a box was refused, not reached, or failed; 2: it could not run.
    """
    words = (*hosts, *limit)
    boxes = inventories.load(inventory, words)
    if dry:
        sys.exit(min(1, plan.boxes(inventory, words, as_json=as_json, strict=False)))
    if not yes and not sys.stdin.isatty():
        raise DeeprigError(
            "there is no terminal to say yes on; --yes goes on unasked, --dry only looks."
        )
    outcomes = _one(boxes[0], yes) if len(boxes) == 1 else _all(inventory, boxes, yes)
    if as_json:
        screen.as_json([outcome.shown for outcome in outcomes], indent=2)
    else:
        screen.echo(deploy_report.page(outcomes))
    sys.exit(1 if any(outcome.error for outcome in outcomes) else 0)


def _one(box: Box, yes: bool) -> list[Outcome]:
    from deploy import build  # loads every task, which other verbs can do without

    name, data = box

    def agree(report: Report) -> bool:
        return _agree([Outcome.of(report, data["rig"])])

    report = runs.run(
        name,
        data,
        build,
        progress=plan.progress(name),
        tell=lambda line: _tell(name, line),
        agree=None if yes else agree,
        look_ahead=not yes,
    )
    if sys.stderr.isatty():
        screen.rewrite()
    return [Outcome.of(report, data["rig"])]


def _all(inventory: Path, boxes: list[Box], yes: bool) -> list[Outcome]:
    return several.deploy(inventory, [name for name, _ in boxes], _tell, None if yes else _agree)


def _tell(name: str, line: str) -> None:
    if sys.stderr.isatty():
        screen.rewrite()
    for part in line.splitlines():
        screen.echo(f"{name}: {visible(part)}", err=True)


def _agree(proposals: list[Outcome]) -> bool:
    """Whether to go on; not asked where nothing would change."""
    if sys.stderr.isatty():
        screen.rewrite()
    for one in proposals:
        screen.echo(deploy_report.proposed(one), err=True)
    if any(one.changes for one in proposals):
        screen.confirm("Go on?", abort=True)
    return True
