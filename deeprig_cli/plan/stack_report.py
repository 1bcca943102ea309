"""What was decided for GPUs, as `deeprig plan` shows it."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import click

from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.resolve import StackPlan

SHOWN = {
    "driver_branch": "driver",
    "module_flavour": "kernel modules",
    "driver_source": "the driver's source",
    "cuda": "CUDA toolkit",
    "cuda_source": "the toolkit's source",
    "cudnn": "cuDNN",
    "nccl": "NCCL",
    "torch": "torch",
}
NAMES_THAT_STAY = (
    "driver_branch",
    "module_flavour",
    "driver_source",
    "cuda_source",
    "cuda",
    "cudnn",
    "nccl",
    "torch",
    "torch_backend",
    "packages",
    "reasons",
)


def lines(decided: StackPlan | Refusal, *, torch: bool, today: date) -> list[str]:
    """One line for each choice with its reason and for each warning, or the refusal and the way
    out. torch where it is asked for.
    """
    if isinstance(decided, Refusal):
        return [*refused([decided.refusal]), f"    instead: {decided.instead}"]
    chosen, warnings = decided.to_json(), _warnings(decided, today)
    left_out = [
        key
        for key, reason in decided.reasons.items()
        if (key == "torch" and not torch) or any(reason in sentence for sentence in warnings)
    ]
    return [
        *(
            f"  {label}: {chosen[key]}{_backend(decided) if key == 'torch' else ''}; "
            f"{decided.reasons[key]}"
            for key, label in SHOWN.items()
            if key in decided.reasons and key not in left_out
        ),
        *(f"  note: {sentence}" for sentence in decided.notes),
        *(f"  {click.style('!', fg='yellow')} {sentence}" for sentence in warnings),
    ]


def refused(reasons: Iterable[str]) -> list[str]:
    """A line for each reason why nothing is done."""
    return [f"  {click.style('refused:', fg='red')} {reason}" for reason in reasons]


def to_json(decided: StackPlan | Refusal, *, today: date) -> dict[str, Any]:
    """The plan's fields, those that others build on first, or `refusal` and `instead`."""
    fields: dict[str, Any] = decided.to_json()
    if isinstance(decided, Refusal):
        return fields
    first = {key: fields[key] for key in NAMES_THAT_STAY}
    return {**first, **fields, "warnings": _warnings(decided, today)}


def _warnings(plan: StackPlan, today: date) -> list[str]:
    return [*plan.warnings, *resolve.dated(plan, today)]


def _backend(plan: StackPlan) -> str:
    return f" with {plan.torch_backend}" if plan.torch_backend else ""
