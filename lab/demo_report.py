"""What a demo ends with: a page that a newcomer can read."""

from dataclasses import dataclass, field
from pathlib import Path

import click

from deeprig.runner.runs import Report
from deeprig.ui.progress import Progress
from deeprig_cli.verify.runner import Check


@dataclass(kw_only=True)
class Result:
    """All that the last page tells."""

    system: str
    inventory: Path
    progress: Progress
    checked: list[Check] = field(default_factory=list)
    again: Report | None = None
    installed: list[str] = field(default_factory=list)
    ways_in: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        fine = ("passed", "warned", "skipped")
        failed = [check for check in self.checked if check.outcome not in fine]
        nothing_changed = self.again is not None and not self.again.error and not self.again.changes
        return bool(self.checked) and not failed and nothing_changed


def page(result: Result, *, up: bool) -> str:
    """All of it, for somebody who has never seen a deploy; `up` if the box is still there."""
    title = click.style(f"deeprig on {result.system}", bold=True)
    times = [f"{name:40} {seconds:6.1f} s" for name, seconds in result.progress.seconds.items()]
    sections = {
        title: [],
        "Installed": result.installed,
        "Verified": _verified(result.checked),
        "The second deploy": _again(result.again),
        "Time": times,
        "Log in, and open the notebook": [f"{k:10} {v}" for k, v in result.ways_in.items()],
    }
    lines = []
    for name, section in sections.items():
        lines += ["", name, *(f"  {line}" for line in section)]
    if not up:
        lines += [
            "",
            "The box is gone again, so these lead nowhere; `make demo KEEP=1` keeps it.",
        ]
    return "\n".join(lines)


def _verified(checks: list[Check]) -> list[str]:
    """A line for each component, the sum, and why some were skipped or failed."""
    components = dict.fromkeys(check.component for check in checks)
    groups = {name: [c.outcome for c in checks if c.component == name] for name in components}
    return [
        *(f"{name.replace('_', ' '):16} {_count(of)}" for name, of in groups.items()),
        f"{'in all':16} {_count([check.outcome for check in checks])}",
        *(f"failed: {c.check}: {c.reason}" for c in checks if c.outcome == "failed"),
        *sorted({f"skipped: {c.reason}" for c in checks if c.outcome == "skipped"}),
    ]


def _count(outcomes: list[str]) -> str:
    passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
    failed = len(outcomes) - passed - skipped
    parts = [f"{passed:3} verified"]
    if skipped:
        parts.append(f"{skipped} skipped")
    if failed:
        parts.append(click.style(f"{failed} FAILED", fg="red"))
    return ", ".join(parts)


def _again(report: Report | None) -> list[str]:
    if report is None or report.error:
        return [f"FAILED: {report.error if report else 'it did not run'}"]
    return [f"{len(report.changes)} changes in {len(report.steps)} operations", *report.changes]
