"""`deeprig driver`: how NVIDIA's driver stands on the boxes, moved on purpose, and taken back."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.parsers import untrusted
from deeprig.ui import screen, summary
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig.ui.summary import Line
from deeprig_cli.driver import report
from deeprig_cli.driver.client import DriverClient
from deeprig_cli.driver.move import Move, Outcome
from deeprig_cli.driver.status import Standing, Unasked, judge, names_to_ask

force_option = click.option("--force", is_flag=True, help="Also while something runs there.")
no_reboot_option = click.option(
    "--no-reboot", is_flag=True, help="Leave the reboot pending, and say so."
)


@click.group()
def driver() -> None:
    """NVIDIA's driver on the boxes: how it stands, moved on purpose, and taken back."""


@driver.command()
@inventory_option
@limit_option
@json_option
def status(inventory: Path, limit: tuple[str, ...], as_json: bool) -> None:
    """Compare what is loaded, on disk, installed, planned and held; say what moved what."""
    standings = []
    for box in with_a_driver(inventory, limit):
        standings.append(standing(*box))
        if not as_json:
            screen.echo(report.page(standings[-1]))
    lines = [_line(one) for one in standings]
    if as_json:
        screen.as_json([one.to_json() for one in standings], indent=2)
    elif len(lines) > 1:
        screen.echo(summary.table(lines))
    sys.exit(summary.code(lines))


def _line(one: Standing | Unasked) -> Line:
    if isinstance(one, Unasked):
        return Line(one.host, 2, one.error)
    wrong = one.wrong
    return Line(one.host, 1 if wrong else 0, wrong[0] if wrong else f"driver {one.driver}")


def standing(name: str, data: dict[str, Any]) -> Standing | Unasked:
    """How the driver stands on one box; one that cannot say does not keep the others from it."""
    box = DriverClient(name, data)
    try:
        facts = box.status(names_to_ask())
    except DeeprigError as error:
        return Unasked(host=name, error=str(error))
    finally:
        box.close()
    try:
        return judge(name, facts, data["rig"].driver, datetime.now(UTC).date())
    except (*untrusted.ODD, OverflowError, OSError):  # such as a day that no calendar has
        return Unasked(host=name, error=f"{name} says of its driver what cannot be so.")


@driver.command()
@inventory_option
@limit_option
@click.option("--branch", metavar="N", help="Another branch than the settings plan, such as 595.")
@force_option
@no_reboot_option
@json_option
def upgrade(
    inventory: Path,
    limit: tuple[str, ...],
    branch: str | None,
    force: bool,
    no_reboot: bool,
    as_json: bool,
) -> None:
    """Move to the newest driver of the plan: proved before and after the reboot, or taken back."""
    moves = [
        Move(inventory, box, branch=branch, force=force, reboot=not no_reboot)
        for box in with_a_driver(inventory, limit)
    ]
    one_after_another([move.upgrade for move in moves], as_json=as_json)


@driver.command()
@inventory_option
@limit_option
@force_option
@no_reboot_option
@json_option
def rollback(
    inventory: Path, limit: tuple[str, ...], force: bool, no_reboot: bool, as_json: bool
) -> None:
    """Back to the driver from before the last upgrade, from the packages kept on the box."""
    moves = [
        Move(inventory, box, force=force, reboot=not no_reboot)
        for box in with_a_driver(inventory, limit)
    ]
    one_after_another([move.rollback for move in moves], as_json=as_json)


def one_after_another(moves: list[Callable[[], Outcome]], *, as_json: bool) -> None:
    """Each box by itself; the first that does not end well is the last that is touched."""
    done: list[Outcome] = []
    for move in moves:
        done.append(move())
        if not as_json:
            screen.echo(click.style(done[-1].sentence, fg="green" if done[-1].good else "red"))
        if not done[-1].good:
            break
    if as_json:
        screen.as_json([outcome.to_json() for outcome in done], indent=2)
    if len(done) < len(moves):
        screen.echo(f"{len(moves) - len(done)} more boxes were not touched", err=True)
    sys.exit(0 if all(outcome.good for outcome in done) else 1)


def with_a_driver(inventory: Path, limit: tuple[str, ...]) -> list[Box]:
    """The boxes whose driver is ours. Raises DeeprigError where there is none."""
    boxes = inventories.load(inventory, limit)
    ours = [(name, data) for name, data in boxes if data["rig"].driver]
    for name in (name for name, data in boxes if not data["rig"].driver):
        screen.echo(f"{name}: Rig.driver is None, so the driver is left to its owner", err=True)
    if not ours:
        raise DeeprigError(f"{inventory} has no box with a driver; write Rig(driver=Driver()).")
    return ours
