"""What a run would do to one box of the inventory, for people and as JSON."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import click

from deeprig.facts import changes, docker, encryption, passthrough
from deeprig.facts.changes import ChangesSince
from deeprig.facts.reinstall import ReinstallImpact
from deeprig.preflight import conditions
from deeprig.preflight.conditions import Conditions
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.resolve import StackPlan
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from deeprig.ui.summary import Line
from deeprig_cli.plan import stack_report


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """A dry run's report, and what was asked besides: None where the run did not come that far."""

    report: Report
    rig: Rig
    reinstall: ReinstallImpact | None = None
    conditions: Conditions | None = None
    since: ChangesSince | None = None

    @property
    def decided(self) -> StackPlan | Refusal | None:
        """What goes on it for its GPUs; None for a box that was not reached."""
        survey = self.report.survey
        return resolve.decide(survey, self.rig) if survey and not survey.strange else None

    @property
    def in_the_way(self) -> list[str]:
        """What a run would meet, worst first, each with what to do."""
        survey, plan = self.report.survey, self.decided
        if survey is None or self.conditions is None:
            return []
        first = self.since is None or not self.since.last
        plan = plan if isinstance(plan, StackPlan) else None
        return conditions.problems(self.conditions, survey, self.rig, plan, first=first)

    @property
    def causes(self) -> list[str]:
        """Who may have caused what a run would change back."""
        return changes.sentences(self.since, self.report.changes) if self.since else []

    @property
    def remarks(self) -> list[str]:
        """What whoever has these settings should know."""
        survey = self.report.survey
        about_cards = passthrough.remarks(survey, self.rig) if survey else []
        asks = encryption.sentence(survey.locks) if survey else ""
        about_boots = [f"{asks}: no run reboots it, a person does"] if asks else []
        return [*docker.remarks(self.rig), *about_cards, *about_boots]

    @property
    def exit_status(self) -> int:
        """0: a run would go through; 1: it would refuse; 2: it could not be asked."""
        if self.report.refusals:
            return 1
        return 2 if self.report.error else 0

    @property
    def strict_status(self) -> int:
        """The same, and 1 too where a run would change something."""
        return self.exit_status or (1 if self.report.changes else 0)


def page(plan_report: PlanReport, today: date) -> str:
    """What is decided and what would change, or why nothing is done."""
    report, decided = plan_report.report, plan_report.decided
    lines = [f"{report.host}{_pretended(report)}: {_said(report)}"]
    if report.error and not report.refusals:
        lines = [click.style(report.error, fg="red")]
    own = decided.sentence if isinstance(decided, Refusal) else None
    lines += stack_report.refused(reason for reason in report.refusals if reason != own)
    lines += [
        f"  {click.style('in the way:', fg='yellow')} {text}" for text in plan_report.in_the_way
    ]
    if not report.error:
        lines += [f"  {change}" for change in [*report.changes, *plan_report.causes]]
    if decided:
        torch = bool(plan_report.rig.python and "torch" in plan_report.rig.python.frameworks)
        lines += stack_report.lines(decided, torch=torch, today=today)
    lines += [f"  {remark}" for remark in plan_report.remarks]
    if plan_report.reinstall and str(plan_report.reinstall):
        lines.append(f"{report.host}: {plan_report.reinstall}")
    return "\n".join(lines)


def line(plan_report: PlanReport) -> Line:
    """The box in the summary of several."""
    report = plan_report.report
    sentence = (report.refusals or [report.error if report.error else _said(report)])[0]
    return Line(report.host, plan_report.exit_status, sentence)


def to_json(plan_report: PlanReport, today: date) -> dict[str, Any]:
    """One flat object: what is decided, and what is there now."""
    report, decided = plan_report.report, plan_report.decided
    return {
        "host": report.host,
        "error": report.error,
        "refusals": report.refusals,
        "in_the_way": plan_report.in_the_way,
        "changes": report.changes,
        "causes": plan_report.causes,
        "remarks": plan_report.remarks,
        "fake_gpu": report.survey.graphics.fake if report.survey else "",
        **(stack_report.to_json(decided, today=today) if decided else {}),
        "reinstall_erases": plan_report.reinstall.to_json() if plan_report.reinstall else [],
    }


def _said(report: Report) -> str:
    if report.refusals:
        return "a run would refuse, before it touches anything"
    count = len(report.changes)
    return f"a run would change {count} things" if count else "a run would change nothing"


def _pretended(report: Report) -> str:
    """A card that a lab pretends is named as such."""
    fake = report.survey.graphics.fake if report.survey else ""
    return f" [fake GPU: {fake}]" if fake else ""
