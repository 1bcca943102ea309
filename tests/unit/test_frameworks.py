"""What a framework's environment is made of, by the plan for the box's GPUs."""

import pytest

from deeprig.resolver import environments
from deeprig.resolver.environments import Environment
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Python

CPU = StackPlan()
OLD = StackPlan(torch="torch==2.14.1", torch_backend="cu126", jax="jax[cuda12]")
NEW = StackPlan(torch="torch", torch_backend="", jax="jax[cuda13]")


@pytest.mark.parametrize(
    ("framework", "plan", "requirements"),
    [
        ("torch", CPU, ("torch", "numpy")),
        ("torch", OLD, ("torch==2.14.1", "numpy")),
        ("torch", NEW, ("torch", "numpy")),
        ("jax", CPU, ("jax",)),
        ("jax", OLD, ("jax[cuda12]", "nvidia-cudnn-cu12==9.10.2.21")),
        ("jax", NEW, ("jax[cuda13]",)),
        ("tensorflow", CPU, ("tensorflow",)),
        ("tensorflow", OLD, ("tensorflow[and-cuda]", "nvidia-cudnn-cu12==9.10.2.21")),
        ("tensorflow", NEW, ("tensorflow[and-cuda]",)),
    ],
)
def test_the_gpus_decide_what_is_installed(
    framework: str, plan: StackPlan, requirements: tuple[str, ...]
) -> None:
    assert environments.environment(framework, plan).requirements == requirements


def test_only_torch_has_an_index_of_its_own() -> None:
    assert environments.environment("torch", OLD).torch_backend == "cu126"
    assert environments.environment("torch", NEW).torch_backend == ""
    assert environments.environment("jax", OLD, torch_index="https://pypi.lan").torch_index == ""
    assert environments.environment("tensorflow", OLD).torch_backend == ""


def test_an_index_of_ones_own_takes_the_place_of_the_backends() -> None:
    asked = environments.environment("torch", OLD, torch_index="https://pypi.lan/cu126")
    assert asked == Environment(
        requirements=("torch==2.14.1", "numpy"),
        gigabytes=6.0,
        torch_index="https://pypi.lan/cu126",
    )


def test_every_jax_of_the_stack_has_a_row_for_every_framework() -> None:
    plans = [CPU, StackPlan(jax="jax[cuda12]"), StackPlan(jax="jax[cuda13]")]
    settings = Python(frameworks=("torch", "jax", "tensorflow"))
    for framework in settings.frameworks:
        assert all(environments.environment(framework, plan).gigabytes > 0.5 for plan in plans)
