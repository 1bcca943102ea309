"""What a deploy says before it and at its end."""

from collections import Counter

import click

from deeprig.ui import summary
from deeprig.ui.summary import Line
from deeprig.ui.visible import visible
from deeprig_cli.deploy.outcome import Outcome, things

HEADS = ("Operation", "Hosts", "Success", "Error", "No Change")
COUNTED = ("changed", "failed", "unchanged")  # as they stand below the last three


def proposed(outcome: Outcome) -> str:
    """What it would change on a box."""
    head = f"{outcome.host}: would change {things(len(outcome.changes))}"
    return "\n".join([click.style(head, bold=True), *(f"  {name}" for name in outcome.changes)])


def page(outcomes: list[Outcome]) -> str:
    """A row for each operation that ran, how often it did what, and what went wrong."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        for name, status in outcome.steps:
            if status in COUNTED:
                counts.setdefault(name, Counter())[status] += 1
    total = sum(counts.values(), Counter[str]())
    rows = [_row(name, counted) for name, counted in [*counts.items(), ("Grand total", total)]]
    widths = [max(len(row[at]) for row in [HEADS, *rows]) for at in range(len(HEADS))]
    table = [
        "    ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [HEADS, *rows]
    ]
    wrong = [click.style(visible(one.error), fg="red") for one in outcomes if one.error]
    several = summary.table([Line(one.host, 1 if one.error else 0, one.said) for one in outcomes])
    return "\n".join([*(table if counts else []), *wrong, *([several] if several else [])])


def _row(name: str, counted: Counter[str]) -> tuple[str, ...]:
    return (visible(name), str(counted.total()), *(str(counted[key] or "-") for key in COUNTED))
