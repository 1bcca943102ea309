"""The driver is the planned one, has a module for every kernel, and stays where it is."""

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

from deeprig.catalog import driver_parts
from deeprig.facts.survey import Survey
from deeprig.operations import box_program
from deeprig.resolver import resolve
from deeprig.settings import Rig
from deeprig_cli.driver import status as driver_status
from deeprig_cli.verify.runner import NothingThere
from tasks import driver, manifest

OF_THE_BUILD = re.compile(r"^(nvidia-fabricmanager|libnvidia-nscq|nvidia-imex)(-\d+)?$")
PROVE = "from deeprig_box.nvidia import driver as d; print({})"


@pytest.fixture(scope="module")
def plan(stack_plan: resolve.StackPlan, rig: Rig) -> resolve.StackPlan:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    if not stack_plan.driver_packages:
        raise NothingThere("there is no NVIDIA card in the box, and none to prepare for")
    return stack_plan


@pytest.fixture
def ask(host: Host, plan: resolve.StackPlan) -> Callable[[str], list[str]]:
    """What nvidia/driver.py on the box says to an expression, in words."""

    def said(expression: str) -> list[str]:
        with host.sudo():
            return host.check_output(box_program.command(PROVE.format(expression))).split()

    return said


@pytest.fixture
def kernels(ask: Callable[[str], list[str]]) -> list[str]:
    return ask('" ".join(d.kernels_to_prove())')


@pytest.fixture
def version(host: Host, plan: resolve.StackPlan) -> str:
    """535.309.01, by the package that holds the modules' source."""
    return str(host.package(plan.driver_packages[0]).version).partition("-")[0]


@pytest.fixture
def driver_set(ask: Callable[[str], list[str]]) -> set[str]:
    """Every package that moves with the driver, as the box itself sees it."""
    return set(ask('" ".join(d.driver_set())'))


@pytest.fixture
def installed(host: Host, plan: resolve.StackPlan) -> dict[str, str]:
    """Name -> version."""
    form = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n'"
    rows = [line.split() for line in host.check_output(form).splitlines()]
    return {row[1]: row[2] for row in rows if row[0] == "installed"}


@pytest.mark.remedy("`deeprig driver upgrade` moves it; a deploy never does")
def test_the_driver_is_of_the_planned_branch(plan: resolve.StackPlan, version: str) -> None:
    assert version.startswith(f"{plan.driver_branch}.")


def test_every_planned_package_is_there(host: Host, plan: resolve.StackPlan) -> None:
    names = plan.names(plan.driver_packages)
    missing = [name for name in names if not host.package(name).is_installed]
    assert missing == []


def test_the_kernel_that_boots_next_has_its_headers(
    host: Host, plan: resolve.StackPlan, kernels: list[str]
) -> None:
    if plan.modules == "prebuilt":
        pytest.skip("the modules come ready made")
    assert host.file(f"/lib/modules/{kernels[-1]}/build").exists


def test_every_kernel_has_the_module_of_that_version(
    host: Host, plan: resolve.StackPlan, kernels: list[str], version: str
) -> None:
    with host.sudo():
        for kernel in kernels:
            said = host.check_output("modinfo -k %s -F version %s", kernel, plan.module)
            assert said == version, kernel


def test_the_module_is_of_the_planned_flavour(
    host: Host, plan: resolve.StackPlan, kernels: list[str]
) -> None:
    licence = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}[plan.module_flavour]
    with host.sudo():
        for kernel in kernels:
            assert host.check_output("modinfo -k %s -F license %s", kernel, plan.module) == licence


def test_dkms_says_installed_for_every_kernel(
    host: Host, plan: resolve.StackPlan, kernels: list[str], version: str
) -> None:
    if plan.modules == "prebuilt":
        pytest.skip("the modules come ready made")
    with host.sudo():
        status = host.check_output("dkms status -m %s -v %s", plan.dkms_name, version)
    for kernel in kernels:
        [line] = [line for line in status.splitlines() if f", {kernel}, " in line]
        assert ": installed" in line


@pytest.mark.remedy("do what it says; a library that no package owns outlives every deploy")
def test_libraries_and_modules_have_one_version(
    host: Host, driver_set: set[str], version: str
) -> None:
    say = (
        "import json; from deeprig_box.nvidia import libraries; "
        "print(json.dumps(libraries.all_of_them()))"
    )
    with host.sudo():
        found = json.loads(host.check_output(box_program.command(say)))
    wrong = [
        f"programs get {driver_status.wrong_library(library, version, '')}"
        for library in found
        if library["version"] != version
    ]
    assert found, "the box does not say which libraries programs get"
    assert not wrong, "; ".join(wrong)


@pytest.mark.remedy("`deeprig driver upgrade` moves both to one build")
def test_the_fabric_manager_is_of_the_drivers_build(
    installed: dict[str, str], plan: resolve.StackPlan, version: str
) -> None:
    names = [name for name in installed if OF_THE_BUILD.match(name)]
    if not names:
        pytest.skip("there is no fabric manager")
    assert {installed[name].partition("-")[0] for name in names} == {version}


def test_exactly_the_drivers_packages_are_held(host: Host, driver_set: set[str]) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    assert driver_set
    assert driver_set <= held
    assert [name for name in held - driver_set if "nvidia" in name or "cuda" in name] == []


def test_no_part_of_the_driver_is_of_another_version(
    driver_set: set[str], installed: dict[str, str], plan: resolve.StackPlan, version: str
) -> None:
    """The audit from the other side: what apt would call a driver's, by name and version alone."""
    looks = re.compile(r"^(lib)?nvidia-(compute|dkms|kernel|utils|headless)|^libcuda1$")
    found = {name for name in installed if looks.search(name)} - {"nvidia-kernel-support"}
    own = {name for name in found if re.match(r"\d{3}\.\d", installed[name])}
    assert own <= driver_set
    assert {installed[name].partition("-")[0] for name in own} <= {version}
    others = driver_parts.of_another_version(installed, version)
    assert not others, f"the driver is {version}, and {', '.join(others)}"


def test_kernels_are_held_together_with_modules_that_were_made_for_them(
    driver_set: set[str], plan: resolve.StackPlan
) -> None:
    if plan.modules != "prebuilt":
        pytest.skip("DKMS builds for whatever kernel comes")
    assert plan.kernel_metapackages
    assert set(plan.kernel_metapackages) <= driver_set


@pytest.mark.remedy("`deeprig driver upgrade`; or unhold them, `sudo apt upgrade`, and deploy")
def test_no_fix_of_the_driver_has_waited_for_a_month(host: Host, plan: resolve.StackPlan) -> None:
    ask = "from deeprig_box.nvidia import held_updates as w; print(chr(10).join(w.overdue()))"
    with host.sudo():
        said = host.check_output(box_program.command(ask))
    assert said == ""


def test_the_days_that_a_fix_waits_are_counted_without_anybodys_doing(
    host: Host, plan: resolve.StackPlan
) -> None:
    said = host.check_output("apt-config dump --format '%v%n' APT::Update::Post-Invoke-Success")
    assert "deeprig-box; [ ! -x $box ] || $box driver-waiting" in said
    assert host.file(driver.MOTD).mode & 0o111 == 0o111


def test_the_packages_are_kept_for_a_day_without_a_network(
    host: Host, driver_set: set[str], plan: resolve.StackPlan, version: str
) -> None:
    kept = host.check_output("ls /var/lib/deeprig/driver-debs/%s", version).split()
    names = {file.partition("_")[0] for file in kept}
    kernels = {name for name in driver_set if name.startswith("linux-")}
    assert driver_set - kernels <= names


def test_automatic_updates_leave_exactly_the_driver_alone(host: Host, driver_set: set[str]) -> None:
    said = host.check_output(
        "apt-config dump --format '%v%n' Unattended-Upgrade::Package-Blacklist"
    )
    assert {driver.exactly(name) for name in driver_set} <= set(said.split())
    assert host.file(driver.UPDATES).content_string.count('$";') == len(driver_set)


def test_nouveau_and_nova_are_never_loaded(host: Host, plan: resolve.StackPlan) -> None:
    with host.sudo():
        said = host.check_output("modprobe --showconfig | grep -E '^blacklist (nouveau|nova)'")
    listed = {line.split()[1] for line in said.splitlines()}
    assert {"nouveau", "nova_core", "nova_drm"} <= listed


def test_the_initramfs_does_not_load_nouveau_first(host: Host, plan: resolve.StackPlan) -> None:
    with host.sudo():
        assert host.check_output("sh -c %s", driver.initramfs_is_fine()) in (
            "fine",
            "no initramfs-tools here",
        )


def test_no_desktop_came_with_the_driver(
    host: Host, plan: resolve.StackPlan, survey: Survey
) -> None:
    if survey.graphics.desktop:
        pytest.skip(f"the box has a desktop of its own, {survey.graphics.desktop}")
    said = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'")
    names = [line.split()[1] for line in said.splitlines() if line.startswith("installed ")]
    desktop = [n for n in names if n.startswith("xserver-xorg-core") or n == "nvidia-driver"]
    assert [n for n in desktop if n not in plan.names()] == []


def test_no_metapackage_is_there_that_replaces_drivers(host: Host, plan: resolve.StackPlan) -> None:
    for name in ("cuda", "cuda-drivers", "nvidia-open"):
        assert name in plan.names() or not host.package(name).is_installed, name


def test_the_archives_are_listed_once(host: Host, plan: resolve.StackPlan) -> None:
    with host.sudo():
        said = host.run("apt-get indextargets --format '$(SOURCESENTRY)'")
    assert "configured multiple times" not in said.stderr


@pytest.mark.of_the_record
def test_the_record_says_what_was_planned(host: Host, plan: resolve.StackPlan) -> None:
    decided = json.loads(host.file(manifest.PATH).content_string)["decided"]
    assert decided["stack"] == json.loads(json.dumps(plan.to_json()))
