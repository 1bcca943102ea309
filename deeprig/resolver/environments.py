"""What an environment for torch, JAX or TensorFlow is made of, by the GPUs it is to run on."""

from dataclasses import dataclass
from typing import Any, Protocol

from deeprig import catalog


class WheelPlan(Protocol):
    """What a StackPlan says about wheels: two requirements, and the index of torch's own builds."""

    @property
    def torch(self) -> str: ...
    @property
    def torch_backend(self) -> str: ...
    @property
    def jax(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Requirements for uv, torch's own first; where torch comes from; how large it gets on disk."""

    requirements: tuple[str, ...]
    gigabytes: float
    torch_backend: str = ""
    torch_index: str = ""


def environment(framework: str, plan: WheelPlan, *, torch_index: str | None = None) -> Environment:
    """What one framework's environment is made of on a box with this plan.

    `torch_index` takes the place of the backend's own index.
    """
    extra = plan.jax.partition("[")[2].rstrip("]") or "cpu"  # cuda12 or cuda13 with a GPU
    facts: dict[str, Any] = catalog.load("frameworks")[framework][extra]
    planned = {"torch": plan.torch, "jax": plan.jax}.get(framework)
    requirements = ((planned,) if planned else ()) + tuple(facts["requirements"])
    is_torch = framework == "torch"
    return Environment(
        requirements=requirements,
        gigabytes=facts["gigabytes"],
        torch_backend=plan.torch_backend if is_torch and not torch_index else "",
        torch_index=torch_index or "" if is_torch else "",
    )
