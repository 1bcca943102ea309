"""Cards change hands without a boot where nothing uses them: a real kernel, emulated cards.

Stand-ins: the graphics cards, which are QEMU's emulated ones behind a virtual IOMMU. What a driver
of NVIDIA's does when a card is taken from it cannot be seen here.
"""

import logging
import os
from collections.abc import Callable, Iterator

import pytest

from deeprig import catalog
from deeprig.settings import Passthrough
from lab import boxes
from lab.hardware import Hardware
from tasks import passthrough
from tests.lab.guarded import boot_id, shell
from tests.lab.test_passthrough import (
    FIRST,
    NATIVE,
    NOTHING_ELSE,
    SECOND,
    deploy,
    drivers,
    failed,
    with_parts,
)
from tests.lab.test_vm import on

pytestmark = pytest.mark.lab

NAME = "t-hand-over"
GUESTS = ["vfio-pci", "vfio-pci"]
CHANGE = "Passthrough | Have idle cards change hands now"
GIVEN = with_parts(
    passthrough=Passthrough(gpus=(SECOND,), hand_over="when-idle"), reboot="never"
)  # fmt: skip
WITHOUT = with_parts(reboot="never", absent={"passthrough"})


@pytest.fixture(scope="module")
def machine() -> Iterator[boxes.Box]:
    if NAME in [box.name for box in boxes.every()]:
        boxes.down(NAME)
    names = catalog.load("packages")
    box = boxes.up(
        NAME,
        kind="vm",
        hardware=Hardware(iommu=True, pci=("gpu", "gpu")),
        packages=(*names["tools"], *names["updates"], "ufw"),
    )
    assert deploy(box, NOTHING_ELSE).error is None
    yield box
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.fixture
def same_boot(machine: boxes.Box) -> Iterator[None]:
    run = shell(machine)
    before = boot_id(run)
    yield
    assert boot_id(run) == before


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("same_boot")
def test_a_card_in_use_stays_and_its_user_is_named(
    machine: boxes.Box, said: Callable[[], str]
) -> None:
    node = f"/dev/dri/by-path/pci-{SECOND}-card"
    on(machine, f"sudo systemd-run --unit=lab-user --property=StandardInput=file:{node} sleep 9999")
    pid = on(machine, "systemctl show -P MainPID lab-user").strip()
    report = deploy(machine, GIVEN)
    assert report.error is None, failed(report)
    assert drivers(machine, SECOND) == NATIVE
    assert f"0000:02:00 is used by sleep (process {pid}); it changes hands at a boot." in said()
    assert f"cards change hands at it ({SECOND} to vfio-pci" in said()
    on(machine, "sudo systemctl stop lab-user")


@pytest.mark.usefixtures("same_boot")
def test_an_idle_card_goes_at_once_and_its_twin_stays(machine: boxes.Box) -> None:
    report = deploy(machine, GIVEN)
    assert report.error is None, failed(report)
    assert CHANGE in report.changes
    assert drivers(machine, SECOND) == GUESTS
    assert drivers(machine, FIRST) == NATIVE


@pytest.mark.usefixtures("same_boot")
def test_the_next_deploy_changes_nothing(machine: boxes.Box, said: Callable[[], str]) -> None:
    report = deploy(machine, GIVEN)
    assert report.error is None, failed(report)
    assert report.changes == []
    assert "cards change hands at it" not in said()


@pytest.mark.usefixtures("same_boot")
def test_it_comes_back_at_once(machine: boxes.Box) -> None:
    report = deploy(machine, WITHOUT)
    assert report.error is None, failed(report)
    assert drivers(machine, SECOND) == NATIVE
    assert drivers(machine, FIRST) == NATIVE
    on(machine, f"! ls {passthrough.WHEN_IDLE} {passthrough.LIST} 2>/dev/null | grep .")
    assert deploy(machine, WITHOUT).changes == []
