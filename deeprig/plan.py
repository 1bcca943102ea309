"""`deeprig plan`: what a run would change; reads only."""

import json
import sys
from pathlib import Path

import click

from deeprig import inventories, runs
from deeprig.options import inventory_option, json_option, limit_option
from deeprig.runs import Report


@click.command()
@inventory_option
@limit_option
@json_option
def plan(inventory: Path, limit: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would change on each box, or why it would refuse; reads only."""
    from deploy import build  # loads every task, which other verbs can do without

    reports = []
    for name, data in inventories.load(inventory, limit):
        reports.append(runs.run(name, data, build, dry=True, progress=_progress(name)))
        if not as_json:
            click.echo(_page(reports[-1]))
    if as_json:
        print(json.dumps([_to_json(report) for report in reports], indent=2))
    sys.exit(2 if any(report.error for report in reports) else 0)


def _page(report: Report) -> str:
    if report.error:
        return click.style(report.error, fg="red")
    if not report.changes:
        return f"{report.host}: a run would change nothing"
    count = len(report.changes)
    changes = [f"  {change}" for change in report.changes]
    return "\n".join([f"{report.host}: a run would change {count} things", *changes])


def _to_json(report: Report) -> dict[str, object]:
    return {"host": report.host, "error": report.error, "changes": report.changes}


def _progress(name: str) -> runs.Progress:
    def say(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{name}: {line}"[:100], nl=False, err=True)

    return say
