"""The two parts of a move that are pyinfra's: what it needs on the box, and the record after it."""

from typing import Any

from deeprig.errors import DeeprigError
from deeprig.runner import runs
from deeprig.runner.runs import Progress
from deeprig.settings import Rig


def prepare(name: str, data: dict[str, Any], progress: Progress) -> None:
    """The box has today's plan, its repository and the way back. Raises DeeprigError if not."""
    from tasks import base, driver_move  # loads every task, which the other verbs do without

    def build(rig: Rig) -> None:
        survey = base.survey(rig=rig)
        plan = base.decide(rig=rig, survey=survey) if survey else None
        if survey and plan and not plan.driver_packages:
            raise DeeprigError(f"no driver is planned: {plan.reasons['driver_branch']}.")
        if survey and plan:
            driver_move.prepare(plan=plan, rig=rig, secure_boot=survey.graphics.secure_boot)

    _run(name, data, build, progress)


def record(name: str, data: dict[str, Any], progress: Progress) -> None:
    """The manifest says what is there now."""
    from tasks import base, manifest

    def build(rig: Rig) -> None:
        survey = base.survey(rig=rig)
        plan = base.decide(rig=rig, survey=survey) if survey else None
        if survey and plan:
            manifest.write(rig=rig, survey=survey, plan=plan, anew=True)

    _run(name, data, build, progress)


def _run(name: str, data: dict[str, Any], build: Any, progress: Progress) -> None:
    report = runs.run(name, data, build, progress=progress)
    if report.error is None:
        return
    if report.refusals:
        raise DeeprigError(f"{name}: {' '.join(report.refusals)}")
    outputs = [step.output.strip() for step in report.steps if step.status == "failed"]
    why = next((text.splitlines()[-1] for text in outputs if text), "")
    raise DeeprigError(f"{report.error}{f': {why}' if why else ''}")
