"""What apt would do with a driver is read from its simulation and compared with the plan."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.box_scripts import loaded

PLAN = {
    "branch": "580",
    "source": "nvidia",
    "packages": ["nvidia-dkms-580-open", "libnvidia-compute-580"],
}
NAMES = ["nvidia-dkms-580-open", "libnvidia-compute-580"]
# `apt-get -s install` on Ubuntu 24.04 with NVIDIA's repository, shortened.
GOOD = """\
Inst libnvidia-compute-580 (580.178.04-0ubuntu1 NVIDIA:NVIDIA CUDA [amd64])
Inst dkms (1:3.4.0-1ubuntu1 NVIDIA:NVIDIA CUDA [all])
Inst libc6 [2.39-0ubuntu8] (2.39-0ubuntu8.4 Ubuntu:24.04/noble-updates [amd64])
Inst nvidia-dkms-580-open (580.178.04-0ubuntu1 NVIDIA:NVIDIA CUDA [amd64]) []
Conf libnvidia-compute-580 (580.178.04-0ubuntu1 NVIDIA:NVIDIA CUDA [amd64])
"""


@pytest.fixture
def apt() -> Iterator[ModuleType]:
    with loaded("driver.simulate") as module:
        yield module


def why(apt: ModuleType, said: str, errors: str = "", **plan: object) -> str:
    found: str = apt.objection(apt.read(said, errors), NAMES, {**PLAN, **plan}, {"libc6"})
    return found


def test_what_is_planned_may_come(apt: ModuleType) -> None:
    said: str = apt.objection(apt.read(GOOD), NAMES, PLAN, set())
    assert said == ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Remv openssh-server [1:9.6]", "apt would remove openssh-server"),
        ("Inst nvidia-dkms (615.71.09-1 NVIDIA:NVIDIA CUDA [amd64])", "the plan is 580"),
        ("Inst cuda-drivers (580.178.04-1 NVIDIA:NVIDIA CUDA [amd64])", "which replaces drivers"),
        ("Inst cuda (13.4.2-1 NVIDIA:NVIDIA CUDA [amd64])", "which replaces drivers"),
        ("Inst gdm3 (46.0 Ubuntu:24.04/noble [amd64])", "which is of a desktop"),
        ("Inst libnvidia-gl-580 [580.1.1-1] (580.178.04-1 NVIDIA:NVIDIA CUDA [amd64])",
         "apt would move libnvidia-gl-580 from 580.1.1-1 to 580.178.04-1"),
        ("Inst nvidia-utils-580 (580.173.02-0ubuntu0.24.04.1 Ubuntu:24.04/noble [amd64])",
         "from Ubuntu:24.04/noble, which the plan does not"),
        ("Inst libc6 [2.39-0ubuntu8] (2.39-0ubuntu8.4 Ubuntu:24.04/noble-updates [amd64])",
         "apt would move libc6, which is held, from 2.39-0ubuntu8 to 2.39-0ubuntu8.4"),
    ],
)  # fmt: skip
def test_what_is_not_planned_is_named(apt: ModuleType, line: str, sentence: str) -> None:
    lines = "\n".join(one for one in GOOD.splitlines() if "libc6" not in one)
    assert why(apt, lines) == ""  # the control
    assert sentence in why(apt, f"{lines}\n{line}\n")


def test_the_container_toolkit_is_no_driver(apt: ModuleType) -> None:
    line = "Inst nvidia-container-toolkit (1.20.1-1 NVIDIA:x [amd64])\n"
    lines = "\n".join(one for one in GOOD.splitlines() if "libc6" not in one)
    assert why(apt, f"{lines}\n{line}") == ""


def test_what_apt_cannot_do_is_told_by_what_is_unmet(apt: ModuleType) -> None:
    errors = (
        "The following packages have unmet dependencies:\n"
        " nvidia-dkms-580-open : Depends: dkms (>= 3.1) but it is not going to be installed\n"
        "E: Unable to correct problems, you have held broken packages.\n"
    )
    said = why(apt, "Reading package lists...\n", errors)
    assert said.startswith("apt cannot do it: nvidia-dkms-580-open : Depends: dkms (>= 3.1)")


@pytest.mark.parametrize(
    ("package", "version", "right"),
    [
        ("libnvidia-compute-580", "580.178.04-0ubuntu1", True),
        ("libnvidia-compute", "615.71.09-1ubuntu1", False),
        ("linux-modules-nvidia-580-server-open-generic", "6.8.0-142.142+1", True),
        ("linux-modules-nvidia-595-server-open-generic", "6.8.0-142.142+1", False),
        ("nvidia-modprobe", "1:580.65.06-1", True),
        ("libnvidia-compute-580", "", False),
    ],
)
def test_a_version_is_of_the_branch_or_not(
    apt: ModuleType, package: str, version: str, right: bool
) -> None:
    assert apt.is_of_branch(package, version, "580") is right


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64", "nvidia"),
        ("http://archive.ubuntu.com/ubuntu noble/restricted", "distro"),
        ("/var/lib/dpkg/status", ""),
    ],
)
def test_where_an_installed_driver_came_from(place: str, source: str) -> None:
    policy = f"x:\n  Version table:\n *** 580.1 500\n        500 {place}\n     570.1 500\n"
    with loaded("driver.foreign") as others:
        assert others.origin(policy) == source


@pytest.mark.parametrize(
    ("config", "compiler"),
    [
        ("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc-12"),
        ("x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "gcc-13"),
        ("Debian clang version 19.1.7", ""),
    ],
)
def test_the_compiler_that_built_a_kernel(tmp_path: Path, config: str, compiler: str) -> None:
    (tmp_path / "config-6.1").write_text(f'CONFIG_CC_VERSION_TEXT="{config}"\n')
    with loaded("driver.dkms") as build:
        build.BOOT = tmp_path  # type: ignore[attr-defined]
        assert build.compiler("6.1") == compiler
        assert build.compiler("6.2") == ""
