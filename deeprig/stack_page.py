"""What was decided for a box's GPUs, as `deeprig plan` shows it."""

from typing import Any

from deeprig import stack
from deeprig.driver_choice import Refusal
from deeprig.settings import Rig
from deeprig.survey import Survey

SHOWN = {
    "driver_branch": "driver",
    "module_flavour": "kernel modules",
    "cuda": "CUDA toolkit",
    "nccl": "NCCL",
    "cudnn": "cuDNN",
    "torch": "torch",
}


def lines(survey: Survey | None, rig: Rig) -> list[str]:
    """One line for each choice with its reason, or the refusal; nothing for a box not reached."""
    if survey is None:
        return []
    plan = stack.decide(survey, rig)
    if isinstance(plan, Refusal):
        return [f"  {plan.sentence}"]
    chosen = plan.to_json()
    asked = rig.python.frameworks if rig.python else ()
    return [
        f"  {label}: {chosen[key]}{_backend(plan) if key == 'torch' else ''}; {plan.reasons[key]}"
        for key, label in SHOWN.items()
        if key in plan.reasons and (key != "torch" or "torch" in asked)
    ]


def to_json(survey: Survey | None, rig: Rig) -> dict[str, Any]:
    """The plan's fields, or `refusal` and `instead`; empty for a box not reached."""
    return {} if survey is None else stack.decide(survey, rig).to_json()


def _backend(plan: stack.Plan) -> str:
    return f" with {plan.torch_backend}" if plan.torch_backend else ""
