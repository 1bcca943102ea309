"""NVIDIA's repository is listed once, by a key that was compared, and gives only what is wanted."""

import re
import shlex

import pytest
from testinfra.host import Host

from deeprig.operations import apt_repositories
from deeprig.resolver import resolve
from deeprig.settings import Rig
from tasks import nvidia_repository

NAME = nvidia_repository.NAME
SOURCE = f"/etc/apt/sources.list.d/deeprig-{NAME}.sources"
# Names and versions that the repository's index lists.
LISTED = (
    "apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' 'Sourcesentry: {}:1' | "
    "xargs -r -n 1 /usr/lib/apt/apt-helper cat-file | "
    "awk '/^Package:/ {{p=$2}} /^Version:/ {{print p, $2}}' | sort"
)
# What a plan may take from there though the distribution has the name too: drivers, CUDA's parts.
FROM_NVIDIA = re.compile(
    r"nvidia|^libcuda|^libnv|^libxnvctrl|^firmware-nvidia|^libcud|^libnccl|^cuda"
)


@pytest.fixture(scope="module")
def plan(stack_plan: resolve.StackPlan) -> resolve.StackPlan:
    if not stack_plan.repository:
        pytest.skip("nothing of the plan comes from NVIDIA's repository")
    return stack_plan


@pytest.fixture(scope="module")
def from_there(host: Host, plan: resolve.StackPlan) -> set[str]:
    """What is installed in a version that the repository has."""
    with host.sudo():
        listed = set(host.check_output("sh -c %s", LISTED.format(SOURCE)).splitlines())
    assert listed
    form = "dpkg-query -W -f '${Package} ${Version}\\n'"
    return {line.split()[0] for line in host.check_output(form).splitlines() if line in listed}


def test_it_stands_as_it_was_compared(host: Host, plan: resolve.StackPlan) -> None:
    with host.sudo():
        assert host.check_output(f"{apt_repositories.SCRIPT} state %s", NAME) == "ok"


def test_an_update_says_nothing_of_it(host: Host, plan: resolve.StackPlan, rig: Rig) -> None:
    repository = nvidia_repository.repository(plan, rig.driver, rig.cuda)
    with host.sudo():
        said = host.run("apt-get -q update 2>&1").stdout
    assert repository.uri.rstrip("/") in said
    complaints = [line for line in said.splitlines() if line.startswith(("W:", "E:"))]
    assert [line for line in complaints if repository.uri.rstrip("/") in line] == []
    assert "configured multiple times" not in said


def test_nothing_is_from_there_but_what_the_plan_needs(
    host: Host, plan: resolve.StackPlan, from_there: set[str]
) -> None:
    wanted = [*plan.names(plan.cuda_packages), plan.pin]
    if plan.driver_source == "nvidia":
        wanted += plan.names(plan.driver_packages)
    needed = host.check_output(
        "apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts "
        f"--no-breaks --no-replaces --no-enhances {shlex.join(name for name in wanted if name)}"
    )
    closure = {line for line in needed.splitlines() if re.match(r"[a-z0-9]", line)}
    assert from_there - closure == set()


def test_dkms_is_the_one_that_the_driver_asks_for(host: Host, plan: resolve.StackPlan) -> None:
    """It is in both; theirs comes only where the distribution's is too old for their driver."""
    if not host.package("dkms").is_installed:
        pytest.skip("nothing builds modules here")
    with host.sudo():
        listed = host.check_output("sh -c %s", LISTED.format(SOURCE)).splitlines()
    said = f"dkms {host.package('dkms').version}"
    assert (said in listed) is ("dkms" in plan.build_tools)


def test_the_distribution_wins_in_all_else(host: Host, plan: resolve.StackPlan) -> None:
    """NVIDIA's own pin would take theirs of whatever name both have."""
    with host.sudo():
        listed = host.check_output("sh -c %s", LISTED.format(SOURCE)).splitlines()
    names = sorted({line.split()[0] for line in listed})
    said = host.check_output(f"LC_ALL=C.UTF-8 apt-cache policy {shlex.join(names)}")
    policies = re.split(r"^(\S+):$", said, flags=re.MULTILINE)
    uri = plan.repository_folder
    won = []
    for name, policy in zip(policies[1::2], policies[2::2], strict=True):
        candidate = re.search(r"Candidate: (\S+)", policy)
        places = re.findall(r"^ {8,} *-?\d+ (\S+)", policy, re.MULTILINE)
        elsewhere = [place for place in places if "://" in place and uri not in place]
        if candidate and elsewhere and f"{name} {candidate[1]}" in listed:
            won.append(name)
    asked = [*plan.build_tools]
    assert [name for name in won if name not in asked and not FROM_NVIDIA.match(name)] == []


def test_a_driver_from_there_is_shut_out_beside_the_distributions(
    host: Host, plan: resolve.StackPlan, from_there: set[str]
) -> None:
    if plan.driver_source != "distro":
        pytest.skip("the driver itself is NVIDIA's")
    driver = re.compile(r"^(lib)?nvidia-|^cuda-drivers|^libcuda1$")
    assert [name for name in from_there if driver.match(name)] == []
