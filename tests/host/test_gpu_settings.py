"""What the driver is told is written down, and happens at every boot."""

import json

import pytest
from testinfra.host import Host

from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Driver, Rig
from deeprig_cli.verify.runner import NothingThere
from tasks import gpu_settings
from tasks.gpu_settings import LIMITS, NODES, PERSISTENCED


@pytest.fixture(scope="module")
def driver(stack_plan: StackPlan, rig: Rig) -> Driver:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    if not stack_plan.driver_packages:
        raise NothingThere("there is no NVIDIA card in the box, and none to prepare for")
    return rig.driver


@pytest.mark.tier("config")
def test_the_persistence_daemon_is_started_with_persistence(host: Host, driver: Driver) -> None:
    command = host.check_output("systemctl show -P ExecStart %s", PERSISTENCED)
    assert "/usr/bin/nvidia-persistenced" in command
    assert "--no-persistence-mode" not in command


@pytest.mark.tier("config")
@pytest.mark.parametrize("unit", [PERSISTENCED, NODES, LIMITS])
def test_the_unit_is_wanted_at_boot(host: Host, driver: Driver, unit: str) -> None:
    assert unit in host.check_output("systemctl show -P Wants multi-user.target").split()
    assert host.check_output("systemctl show -P NeedDaemonReload %s", unit) == "no"


@pytest.mark.tier("config")
def test_the_daemon_does_not_stop_for_want_of_a_client(host: Host, driver: Driver) -> None:
    assert host.check_output("systemctl show -P StopWhenUnneeded %s", PERSISTENCED) == "no"


@pytest.mark.tier("config")
def test_the_power_limits_are_those_asked_for(host: Host, driver: Driver) -> None:
    there = json.loads(host.file(gpu_settings.WATTS).content_string)
    assert there == [{"gpu": limit.gpu, "watts": limit.watts} for limit in driver.power_limits]


@pytest.mark.tier("config")
def test_the_modules_options_are_those_asked_for(
    host: Host, driver: Driver, stack_plan: StackPlan
) -> None:
    with host.sudo():
        known = host.run("modprobe --showconfig").stdout.splitlines()
        ours = host.file(gpu_settings.OPTIONS).exists
    assert ours == bool(driver.module_options)
    for option in driver.module_options:
        assert any(
            line.startswith(f"options {stack_plan.module} ") and option in line.split()
            for line in known
        ), option


@pytest.mark.remedy("`systemctl status` of the unit says which limit or module, and why")
def test_nothing_failed_at_boot(host: Host, driver: Driver) -> None:
    units = (PERSISTENCED, NODES, LIMITS)
    states = host.run(f"systemctl is-failed {' '.join(units)}").stdout.split()
    assert dict(zip(units, states, strict=True)) == {
        unit: state for unit, state in zip(units, states, strict=True) if state != "failed"
    }
