"""The driver is the planned one, has a module for every kernel, and stays where it is."""

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

from deeprig import stack
from deeprig.settings import Rig
from deeprig.survey import Survey
from tasks import driver, manifest

PROVE = "cd /usr/local/lib/deeprig; python3 -EsB -c 'import driver_proof as d; print({})'"


@pytest.fixture(scope="module")
def plan(stack_plan: stack.Plan, rig: Rig) -> stack.Plan:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    if not stack_plan.driver_packages:
        pytest.skip("there is no NVIDIA card in the box, and none to prepare for")
    return stack_plan


@pytest.fixture
def ask(host: Host, plan: stack.Plan) -> Callable[[str], list[str]]:
    """What driver_proof on the box says to an expression, in words."""

    def said(expression: str) -> list[str]:
        with host.sudo():
            return host.check_output("sh -c %s", PROVE.format(expression)).split()

    return said


@pytest.fixture
def kernels(ask: Callable[[str], list[str]]) -> list[str]:
    return ask('" ".join(d.kernels_to_prove())')


@pytest.fixture
def version(host: Host, plan: stack.Plan) -> str:
    """535.309.01, by the package that holds the modules' source."""
    return str(host.package(plan.driver_packages[0]).version).partition("-")[0]


@pytest.fixture
def driver_set(host: Host, plan: stack.Plan) -> set[str]:
    """Every package that is built from the driver's sources."""
    lines = host.check_output(
        "dpkg-query -W -f '${db:Status-Status} ${source:Package} ${Package}\\n'"
    ).splitlines()
    rows = [line.split() for line in lines]
    return {row[2] for row in rows if row[0] == "installed" and row[1] in plan.built_from}


def test_the_driver_is_of_the_planned_branch(plan: stack.Plan, version: str) -> None:
    assert version.startswith(f"{plan.driver_branch}.")


def test_every_planned_package_is_there(host: Host, plan: stack.Plan) -> None:
    missing = [name for name in plan.driver_packages if not host.package(name).is_installed]
    assert missing == []


def test_the_kernel_that_boots_next_has_its_headers(host: Host, kernels: list[str]) -> None:
    assert host.file(f"/lib/modules/{kernels[-1]}/build").exists


def test_every_kernel_has_the_module_of_that_version(
    host: Host, plan: stack.Plan, kernels: list[str], version: str
) -> None:
    with host.sudo():
        for kernel in kernels:
            said = host.check_output("modinfo -k %s -F version %s", kernel, plan.module)
            assert said == version, kernel


def test_the_module_is_of_the_planned_flavour(
    host: Host, plan: stack.Plan, kernels: list[str]
) -> None:
    licence = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}[plan.module_flavour]
    with host.sudo():
        for kernel in kernels:
            assert host.check_output("modinfo -k %s -F license %s", kernel, plan.module) == licence


def test_dkms_says_installed_for_every_kernel(
    host: Host, plan: stack.Plan, kernels: list[str], version: str
) -> None:
    with host.sudo():
        status = host.check_output("dkms status -m %s -v %s", plan.module, version)
    for kernel in kernels:
        [line] = [line for line in status.splitlines() if f", {kernel}, " in line]
        assert ": installed" in line


def test_libraries_and_modules_have_one_version(
    host: Host, driver_set: set[str], version: str
) -> None:
    library = host.check_output("readlink -f /usr/lib/$(uname -m)-linux-gnu/libcuda.so.1")
    assert library.endswith(f".so.{version}")


def test_exactly_the_drivers_packages_are_held(host: Host, driver_set: set[str], rig: Rig) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    assert driver_set
    assert driver_set <= held
    assert [name for name in held - driver_set if "nvidia" in name or "cuda" in name] == []


def test_automatic_updates_leave_exactly_the_driver_alone(host: Host, driver_set: set[str]) -> None:
    said = host.check_output(
        "apt-config dump --format '%v%n' Unattended-Upgrade::Package-Blacklist"
    )
    assert {f"{name}$" for name in driver_set} <= set(said.split())
    assert host.file(driver.UPDATES).content_string.count('$";') == len(driver_set)


def test_nouveau_and_nova_are_never_loaded(host: Host, plan: stack.Plan) -> None:
    with host.sudo():
        said = host.check_output("modprobe --showconfig | grep -E '^blacklist (nouveau|nova)'")
    listed = {line.split()[1] for line in said.splitlines()}
    assert {"nouveau", "nova_core", "nova_drm"} <= listed


def test_the_initramfs_does_not_load_nouveau_first(host: Host, plan: stack.Plan) -> None:
    with host.sudo():
        assert host.check_output("sh -c %s", driver.initramfs_is_fine()) in (
            "fine",
            "no initramfs-tools here",
        )


def test_no_desktop_came_with_the_driver(host: Host, plan: stack.Plan) -> None:
    said = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'")
    names = [line.split()[1] for line in said.splitlines() if line.startswith("installed ")]
    assert [n for n in names if n.startswith(("xserver-xorg", "nvidia-driver"))] == []


def test_no_metapackage_is_there_that_replaces_drivers(host: Host, plan: stack.Plan) -> None:
    assert not host.package("cuda").is_installed
    assert not host.package("cuda-drivers").is_installed


def test_the_archives_are_listed_once(host: Host, plan: stack.Plan) -> None:
    with host.sudo():
        said = host.run("apt-get indextargets --format '$(SOURCESENTRY)'")
    assert "configured multiple times" not in said.stderr


def test_the_record_says_what_was_planned(host: Host, plan: stack.Plan) -> None:
    decided = json.loads(host.file(manifest.PATH).content_string)["decided"]
    assert decided["stack"] == json.loads(json.dumps(plan.to_json()))


@pytest.mark.tier("live")
@pytest.mark.remedy("reboot the box; `sudo /usr/local/lib/deeprig/driver-set in-use` says why")
def test_the_loaded_module_is_the_installed_one(
    host: Host, plan: stack.Plan, survey: Survey, version: str
) -> None:
    if not survey.graphics.gpus:
        pytest.skip("no NVIDIA card is in the box yet: it is only prepared for one")
    assert host.file("/sys/module/nvidia/version").content_string.strip() == version


@pytest.mark.tier("live")
def test_every_card_is_held_by_the_driver(host: Host, plan: stack.Plan, survey: Survey) -> None:
    if not survey.graphics.gpus:
        pytest.skip("no NVIDIA card is in the box yet: it is only prepared for one")
    for card in survey.graphics.gpus:
        holder = host.check_output("readlink -f /sys/bus/pci/devices/%s/driver", card.address)
        assert holder.endswith("/nvidia"), card
