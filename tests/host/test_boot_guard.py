"""The next boot comes up with the driver, whatever kernel was installed meanwhile."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from deeprig.operations import box_program
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tasks import boot_guard

DUE = "from deeprig_box.boot import kernel_check; print(kernel_check.owed())"
LOOK = "`sudo {} state` says what is wrong, and what to do"


@pytest.fixture(scope="module")
def plan(stack_plan: StackPlan, rig: Rig) -> StackPlan:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    if not stack_plan.driver_packages:
        pytest.skip("there is no NVIDIA card in the box, and none to prepare for")
    return stack_plan


@pytest.fixture
def said(host: Host, plan: StackPlan) -> list[str]:
    """What the guard says: `ok ...`, or a sentence for each thing that a person must know."""
    with host.sudo():
        return host.check_output(f"{boot_guard.GUARD} state").splitlines()


@pytest.fixture
def record(host: Host, plan: StackPlan) -> dict[str, Any]:
    """What the guard wrote down when it last looked."""
    with host.sudo():
        found: dict[str, Any] = json.loads(host.file(boot_guard.RECORD).content_string)
    return found


@pytest.mark.parametrize("moment", ["preinst", "postinst", "postrm", "header_postinst"])
def test_whoever_installs_a_kernel_has_the_guard_look(
    host: Host, plan: StackPlan, moment: str
) -> None:
    hook = host.file(f"/etc/kernel/{moment}.d/zzz-deeprig-guard")
    assert hook.exists
    assert hook.mode & 0o111 == 0o111
    with host.sudo():
        called = host.check_output(f"run-parts --test /etc/kernel/{moment}.d").split()
    assert called[-1] == hook.path


def test_every_run_of_apt_has_the_guard_look(host: Host, plan: StackPlan) -> None:
    said = host.check_output("apt-config dump --format '%v%n' DPkg::Post-Invoke")
    assert boot_guard.GUARD.split()[0] in said and " boot-guard " in said


def test_the_guard_looks_at_every_boot_and_before_power_off(host: Host, plan: StackPlan) -> None:
    guard = host.service(boot_guard.UNIT)
    assert guard.is_enabled
    assert guard.is_running


def test_a_build_that_fails_does_not_fail_the_kernels_installation(
    host: Host, plan: StackPlan
) -> None:
    if plan.modules == "prebuilt":
        pytest.skip("the modules come ready made")
    # DKMS before 3.1 heeds the second only.
    own = host.check_output("ls /usr/src/%s-*/dkms.conf", plan.dkms_name).split()
    for file in (f"/etc/dkms/{plan.dkms_name}.conf", *own):
        assert 'AUTOINSTALL=""' in host.file(file).content_string, file


@pytest.mark.remedy(LOOK.format(boot_guard.GUARD))
def test_the_next_boot_comes_up_with_the_driver(host: Host, plan: StackPlan) -> None:
    with host.sudo():
        checked = host.run(f"{boot_guard.GATE} check")
    assert checked.rc == 0, checked.stderr.strip()


@pytest.mark.remedy(LOOK.format(boot_guard.GUARD))
def test_the_newest_kernel_is_the_one_that_boots(
    said: list[str], warn: Callable[..., None]
) -> None:
    """A box that is kept on an older kernel is safe, and still wants a person."""
    others = [line for line in said if not line.startswith(("ok ", "a reboot is owed"))]
    if others:
        warn("; ".join(others))


@pytest.mark.remedy("`sudo systemctl reboot` there, or deploy again")
def test_no_reboot_is_owed(host: Host, plan: StackPlan, warn: Callable[..., None]) -> None:
    with host.sudo():
        owed = host.check_output(box_program.command(DUE))
    if owed:
        warn(f"a reboot is owed: {owed}")


def test_who_logs_in_is_told_what_the_guard_said(host: Host, record: dict[str, Any]) -> None:
    with host.sudo():
        shown = host.check_output(boot_guard.MOTD).splitlines()
    assert shown == [f"deeprig: {line}." for line in record["said"]]


def test_apt_keeps_the_kernel_that_is_proved(host: Host, record: dict[str, Any]) -> None:
    kept = host.check_output("apt-config dump --format '%v%n' APT::NeverAutoRemove")
    assert record["next"].replace(".", "[.]").replace("+", "[+]") in kept
