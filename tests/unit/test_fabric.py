"""Boards that hide their NVSwitches are told; what belongs to a driver is of its version."""

import pytest

from deeprig.catalog import driver_parts
from deeprig.catalog.gpus import hidden_switches, identify
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver.resolve import StackPlan, resolve
from deeprig.settings import Driver


def graphics(device: str, count: int, **more: bool) -> GpuFacts:
    cards = tuple(identify(f"10de:{device}", f"0000:{n:02x}:00.0") for n in range(1, count + 1))
    return GpuFacts(gpus=cards, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "count", "hidden"),
    [("2901", 8, True), ("3182", 8, True), ("2941", 4, True), ("31c2", 4, True),
     ("2901", 1, False), ("2330", 8, False), ("2204", 8, False)],
)  # fmt: skip
def test_a_board_is_known_by_its_cards(device: str, count: int, hidden: bool) -> None:
    assert bool(hidden_switches(graphics(device, count).gpus)) == hidden


@pytest.mark.parametrize("count", [8, 1])
def test_the_plan_tells_of_it_and_has_what_it_needs(count: int) -> None:
    plan = resolve(
        "ubuntu-24.04", graphics("2901", count), driver=Driver(source="nvidia"), cuda=None
    )
    assert isinstance(plan, StackPlan)
    assert any("CUDA says 802" in line and "nvlsm" in line for line in plan.notes)
    assert {"nvidia-fabricmanager", "nvlsm"} <= set(plan.driver_packages)


def test_what_belongs_to_a_driver_is_compared_by_version_and_nvlsm_is_not() -> None:
    there = {
        "nvidia-fabricmanager-580": "580.173.02-0ubuntu1",
        "libnvidia-nscq-580": "580.178.04-1",
        "nvidia-imex": "1:580.105.08-1",
        "nvlsm": "2025.06.5-1",
        "libnvidia-compute-580": "580.178.04-0ubuntu1",
    }
    assert driver_parts.of_another_version(there, "580.178.04") == [
        "nvidia-fabricmanager-580 is 580.173.02",
        "nvidia-imex is 580.105.08",
    ]
