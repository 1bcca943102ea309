"""What the driver's and CUDA's tasks would do, and the decisions in them, without a machine."""

import re
from dataclasses import replace

import pytest

from deeprig.operations.apt_components import COMPONENTS, ArchiveSources, Source, text
from deeprig.resolver.resolve import StackPlan
from deeprig.runner.runs import Report
from deeprig.settings import Cuda, Driver, Rig
from tasks.cuda import WouldInstall, unwelcome
from tasks.driver import initramfs_is_fine, left_alone_by_updates
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_deploy import components, plan

RTX_3090 = "10de:2204"
WITH_KERNEL = [*DEBIAN_13, "kernel=6.12.117+deb13-amd64"]

# `apt-get indextargets` on Debian 12 and 13 as their installers leave them, 2026-11-23.
TARGETS = """\
/etc/apt/sources.list:1|Debian|bookworm|http://mirror.lan/debian/|bookworm|main|$(SIGNED_BY)
/etc/apt/sources.list:2|Debian|bookworm-updates|http://mirror.lan/debian/|bookworm-updates|\
main|$(SIGNED_BY)
/etc/apt/sources.list:3|Debian|bookworm-security|http://security.debian.org/debian-security/|\
bookworm-security|main|$(SIGNED_BY)
""".splitlines()
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


def named(report: Report, component: str) -> list[str]:
    return [
        step.name.partition(" | ")[2] for step in report.steps if step.name.startswith(component)
    ]


def test_driver_and_cuda_come_after_the_way_in_and_before_python() -> None:
    rig = Rig(driver=Driver(gpus=(RTX_3090,), branch="595"), cuda=Cuda())
    order = components(plan(rig, WITH_KERNEL))
    found = [name for name in order if name in ("NVIDIA driver", "CUDA")]
    assert found == ["NVIDIA driver", "CUDA"]
    assert order.index("SSH and firewall") < order.index("NVIDIA driver")
    assert order.index("CUDA") < order.index("Python environments")


def test_nouveau_is_put_away_only_once_the_driver_is_proved() -> None:
    steps = named(plan(Rig(driver=Driver(gpus=(RTX_3090,))), WITH_KERNEL), "NVIDIA driver")
    proved = steps.index("Install the driver, with modules for every kernel")
    assert proved < steps.index("Write /etc/modprobe.d/50-deeprig-nouveau.conf")
    assert proved < steps.index("Hold the driver, package by package")
    assert steps.index("Install the kernels' headers") < proved


def test_no_file_is_written_twice_in_a_run() -> None:
    rig = Rig(driver=Driver(gpus=(RTX_3090,), branch="595"), cuda=Cuda())
    files = [step.name.rpartition(" | ")[2] for step in plan(rig, WITH_KERNEL).steps]
    written = [name for name in files if name.startswith("Write ")]
    assert sorted(written) == sorted(set(written))


@pytest.mark.parametrize(
    "module",
    ["drm/nouveau/nouveau", "nova-core/nova_core", "nova-core/nova-core", "drm/nova/nova_drm"],
)
def test_an_initramfs_with_any_driver_of_the_kernels_own_is_looked_at(module: str) -> None:
    pattern = re.search(r"grep -qE '([^']+)'", initramfs_is_fine())
    assert pattern
    assert re.search(pattern[1], f"usr/lib/modules/6.17/kernel/drivers/gpu/{module}.ko.zst")
    assert not re.search(pattern[1], "usr/lib/modules/6.17/kernel/drivers/gpu/drm/i915/i915.ko.zst")


def test_without_a_card_a_driver_is_no_work() -> None:
    assert "NVIDIA driver" not in components(plan(Rig(driver=Driver()), WITH_KERNEL))


@pytest.mark.parametrize(
    ("rig", "survey"),
    [
        (Rig(driver=Driver(gpus=("10de:2b85",), source="distro")), WITH_KERNEL),
        (Rig(driver=Driver(gpus=(RTX_3090,))), DEBIAN_13),
        (Rig(driver=Driver(gpus=(RTX_3090,))), [*WITH_KERNEL, "secure_boot=yes"]),
    ],
)
def test_what_cannot_work_gets_no_operations(rig: Rig, survey: list[str]) -> None:
    report = plan(rig, survey)
    assert report.steps == []
    assert report.error is not None


def test_missing_components_are_added_to_the_archives_that_are_there() -> None:
    written = text(ArchiveSources().process(TARGETS))
    assert written.partition("\n")[2] == (
        "Types: deb\n"
        "URIs: http://mirror.lan/debian/\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: contrib non-free non-free-firmware\n"
        "\n"
        "Types: deb\n"
        "URIs: http://security.debian.org/debian-security/\n"
        "Suites: bookworm-security\n"
        "Components: contrib non-free non-free-firmware\n"
    )


def test_a_component_that_is_enabled_is_not_listed_twice_and_the_key_is_kept() -> None:
    there = [
        Source("http://d/", "trixie", component, KEY) for component in ("main", "non-free-firmware")
    ]
    other = [Source("http://d/", "trixie-updates", "main", KEY)]
    written = text([*there, *other])
    assert "Suites: trixie\nComponents: contrib non-free\nSigned-By: " + KEY in written
    assert "Suites: trixie-updates\nComponents: contrib non-free non-free-firmware" in written


def test_nothing_is_written_where_all_is_enabled() -> None:
    every = ("main", *COMPONENTS["Debian"])
    assert text([Source("http://d/", "trixie", c, "") for c in every]) == ""
    assert text([]) == ""


def test_ubuntus_archive_has_drivers_in_other_parts() -> None:
    there = [Source("http://u/", "noble", "main", KEY, "Ubuntu")]
    assert "Components: restricted multiverse" in text(there)


def test_updates_leave_exact_names_alone() -> None:
    written = left_alone_by_updates(["libcuda1", "libstdc++x"])
    assert '    "libcuda1$";\n    "libstdc[+][+]x$";\n};' in written


PLAN = StackPlan(cuda="12.4", cuda_packages=("nvidia-cuda-toolkit",))


def would(*lines: str) -> dict[str, str]:
    return WouldInstall().process(list(lines))


def test_a_toolkit_with_its_libraries_is_welcome() -> None:
    assert (
        unwelcome(would("libcuda1 550.163.01-2", "nvidia-cuda-toolkit 12.4.131~12.4.1-2"), PLAN)
        == ""
    )
    same = would("libcuda1 550.163.01-2", "libnvidia-ml1 550.163.01-2", "loaded 550.163.01")
    assert unwelcome(same, PLAN) == ""


def test_a_driver_that_would_come_along_is_named() -> None:
    said = unwelcome(would("nvidia-kernel-dkms 550.163.01-2"), PLAN)
    assert said == "CUDA 12.4 would bring nvidia-kernel-dkms, which the plan does not hold"
    held = replace(PLAN, driver_packages=("nvidia-kernel-dkms",))
    assert unwelcome(would("nvidia-kernel-dkms 550.163.01-2"), held) == ""


def test_libraries_of_another_driver_than_the_loaded_one_do_not_come() -> None:
    said = unwelcome(would("libcuda1 550.163.01-2", "loaded 580.178.04"), PLAN)
    assert said == "CUDA 12.4 would bring libcuda1 550.163.01, and driver 580.178.04 is loaded"
