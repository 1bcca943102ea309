"""`deeprig plan`: what a run would change; reads only."""

import json
import sys
from pathlib import Path

import click
from pyinfra.context import host

from deeprig import inventories, runs, stack_page
from deeprig.erased import Reinstall
from deeprig.options import inventory_option, json_option, limit_option
from deeprig.runs import Report
from deeprig.settings import Rig, Storage


@click.command()
@inventory_option
@limit_option
@json_option
def plan(inventory: Path, limit: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would change on each box, or why it would refuse; reads only."""
    from deploy import build  # loads every task, which other verbs can do without
    from tasks.facts import WouldErase

    would_erase: dict[str, Reinstall] = {}

    def look(rig: Rig) -> None:
        build(rig)
        folder = (rig.storage or Storage()).folder
        would_erase[host.name] = host.get_fact(WouldErase, folder=folder)

    reports = []
    rigs: dict[str, Rig] = {}
    for name, data in inventories.load(inventory, limit):
        rigs[name] = data["rig"]
        reports.append(runs.run(name, data, look, dry=True, progress=_progress(name)))
        if not as_json:
            click.echo(_page(reports[-1], would_erase.get(name), rigs[name]))
    if as_json:
        print(
            json.dumps(
                [_to_json(r, would_erase.get(r.host), rigs[r.host]) for r in reports], indent=2
            )
        )
    sys.exit(2 if any(report.error for report in reports) else 0)


def _page(report: Report, reinstall: Reinstall | None, rig: Rig) -> str:
    decided = stack_page.lines(report.survey, rig)
    if report.error:
        return "\n".join([click.style(report.error, fg="red"), *decided])
    count = len(report.changes)
    said = f"a run would change {count} things" if count else "a run would change nothing"
    changes = [f"  {change}" for change in report.changes]
    more = [f"{report.host}: {reinstall}"] if reinstall and str(reinstall) else []
    return "\n".join([f"{report.host}: {said}", *changes, *decided, *more])


def _to_json(report: Report, reinstall: Reinstall | None, rig: Rig) -> dict[str, object]:
    return {
        "host": report.host,
        "error": report.error,
        "changes": report.changes,
        **stack_page.to_json(report.survey, rig),
        "reinstall_erases": reinstall.to_json() if reinstall else [],
    }


def _progress(name: str) -> runs.Progress:
    def say(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{name}: {line}"[:100], nl=False, err=True)

    return say
