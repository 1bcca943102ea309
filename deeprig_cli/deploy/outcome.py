"""What came of a deploy on one box, in words and numbers that go through a pipe."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

from deeprig.runner.runs import Report
from deeprig.settings import Rig
from deeprig_cli.plan import report as plan_report
from deeprig_cli.plan.report import PlanReport

# What `deeprig plan` asks besides, and a deploy does not.
OF_A_LOOK = ("in_the_way", "causes", "reinstall_erases")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`changes` are what was done, or before it what would be; `steps` are (name, status)."""

    host: str
    error: str | None
    changes: list[str]
    steps: list[tuple[str, str]]
    shown: dict[str, Any]  # of --json

    @classmethod
    def of(cls, report: Report, rig: Rig) -> Self:
        """Of a run that ended, or that waits for leave to begin."""
        seen = plan_report.to_json(PlanReport(report=report, rig=rig), date.today())
        shown = {key: value for key, value in seen.items() if key not in OF_A_LOOK}
        return cls(
            host=report.host,
            error=report.error,
            changes=report.changes,
            steps=[(step.name, step.status) for step in report.steps],
            shown={**shown, "seconds": round(report.seconds, 1)},
        )

    @classmethod
    def lost(cls, host: str, why: str) -> Self:
        """Of a run that ended without a word of how."""
        shown = {"host": host, "error": why, "refusals": [], "changes": []}
        return cls(host=host, error=why, changes=[], steps=[], shown=shown)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def said(self) -> str:
        """In the summary of several."""
        if self.error:
            return self.error
        return f"changed {things(len(self.changes))}"


def things(count: int) -> str:
    """So many, in words."""
    return f"{count} thing{'s' * (count != 1)}" if count else "nothing"
