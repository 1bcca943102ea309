"""Real kernels and GRUB's own menu: the box never boots into one without the driver.

A container boots no kernel, so what would boot next is read where GRUB reads it, in grub.cfg.
"""

import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.deb import Package
from lab.stand_ins.nvidia_repository import Repository
from tasks import boot_guard
from tests.lab.conftest import run_on, wait_for
from tests.lab.guarded import (
    APT,
    CLOUD,
    DISTS,
    DRIVER,
    FIRST,
    MENDED,
    Run,
    archive_kernels,
    boots,
    choose_once,
    guard,
    install_driver,
    install_kernel,
    motd,
    shell,
    state,
)

pytestmark = pytest.mark.lab

# Between GRUB's hook and the guard's last one, which is where a power cut would hurt most.
STOP = "/etc/kernel/postinst.d/zzy-lab-stop"
STOPS = "#!/bin/sh\n[ ! -e /run/lab-stop ] || { touch /run/lab-stopped; exec sleep 600; }\n"


class Kernels(NamedTuple):
    """The three newest of the archive; the driver's first version builds for the first alone."""

    first: str
    second: str
    third: str


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture(scope="module")
def nvidia(box: boxes.Box) -> Iterator[Repository]:
    with nvidia_repository.serve([DISTS[box.os]], []) as repository:
        yield repository


@pytest.fixture(scope="module")
def kernels(box: boxes.Box, run: Run, nvidia: Repository) -> Kernels:
    """The oldest with the driver, and the guard; the others are in the archive only."""
    found = Kernels(*archive_kernels(run, box.os)[-3:])
    install_kernel(run, found.first)
    assert boots(run) == found.first
    nvidia.offer(FIRST, fails_for=f"{found.second} {found.third}")
    install_driver(run, nvidia, DISTS[box.os])
    report = run_on(box, guard)
    assert report.error is None, report.steps[-1].output
    return found


def not_fit(kernels: Kernels, kernel: str, remedy: str) -> str:
    return (
        f"kernel {kernel} is not fit to boot (there is no nvidia for kernel {kernel}); the box "
        f"boots {kernels.first} until it is; `sudo {remedy}"
    )


def test_with_one_proved_kernel_the_boot_loader_is_left_alone(
    kernels: Kernels, run: Run, box: boxes.Box
) -> None:
    assert state(run) == f"ok {kernels.first} boots next, with driver {FIRST}"
    assert run(f"ls {boot_guard.PIN}", check=False) == ""
    assert run_on(box, guard).changes == []


def test_a_power_cut_while_a_kernel_is_installed_leaves_the_one_from_before(
    kernels: Kernels, run: Run, box: boxes.Box
) -> None:
    run(f"sudo install -m 755 /dev/stdin {STOP} && sudo touch /run/lab-stop", stdin=STOPS)
    install = f"{APT} install linux-image-{kernels.second} linux-headers-{kernels.second}"
    run(f"{install} > /tmp/apt.log 2>&1 < /dev/null &")
    wait_for(lambda: bool(run("ls /run/lab-stopped", check=False)), 400)
    assert kernels.second in run("sudo cat /boot/grub/grub.cfg")
    assert boots(run) == kernels.first
    boxes.cut(box.name)
    assert boots(run) == kernels.first
    run(f"sudo rm {STOP}; sudo dpkg --configure -a && {install}")


def test_a_kernel_whose_build_fails_is_installed_and_not_booted(
    kernels: Kernels, run: Run, box: boxes.Box
) -> None:
    assert run("sudo dpkg --audit") == ""
    assert run(f"ls /boot/initrd.img-{kernels.second}")
    assert boots(run) == kernels.first
    sentence = not_fit(kernels, kernels.second, f"{boot_guard.GUARD} rebuild")
    assert state(run).startswith(sentence)
    assert sentence in motd(box)
    assert run_on(box, guard).changes == []


def test_the_gate_sees_the_kernel_that_boots_next_not_the_newest(
    kernels: Kernels, run: Run
) -> None:
    assert run(f"sudo {boot_guard.GATE} check") == f"ok {kernels.first}\n"


def test_a_kernel_that_a_person_chose_for_the_next_boot_has_to_pass_the_gate_too(
    kernels: Kernels, run: Run
) -> None:
    choose_once(run, kernels.second)
    said = run(f"sudo {boot_guard.GATE} check 2>&1 && echo passed", check=False)
    run("sudo grub-editenv /boot/grub/grubenv unset next_entry")
    [sentence] = [line for line in said.splitlines() if line.startswith("No reboot: ")]
    assert f"kernel {kernels.second} boots next, and there is no nvidia for kernel" in sentence
    assert "this stand-in was told not to build for this kernel" in said
    assert said.endswith(f"{sentence}\n")


def test_dpkg_alone_brings_a_kernel_and_the_guard_looks(kernels: Kernels, run: Run) -> None:
    """Without its headers, which nobody asked for."""
    run(f"cd /tmp && apt-get -q download linux-image-{kernels.third}")
    run(f"sudo {APT.removeprefix('sudo ')} install linux-base kmod")
    run(f"sudo dpkg -i /tmp/linux-image-{kernels.third}_*.deb")
    assert boots(run) == kernels.first
    headers = f"apt install linux-headers-{kernels.third}"
    assert state(run).startswith(not_fit(kernels, kernels.third, headers))


def test_apt_does_not_take_the_last_proved_kernel_out(kernels: Kernels, run: Run) -> None:
    run(f"sudo apt-mark auto linux-image-{kernels.first} linux-headers-{kernels.first}")
    asked = f"{APT} -s autoremove"
    assert f"Remv linux-image-{kernels.first} " not in run(asked)
    run(f"sudo mv {boot_guard.KEEP} /tmp/keep")
    assert f"Remv linux-image-{kernels.first} " in run(asked)
    run(f"sudo mv /tmp/keep {boot_guard.KEEP}")


def test_headers_that_come_later_are_built_with(kernels: Kernels, run: Run) -> None:
    said = run(f"{APT} install linux-headers-{kernels.third} 2>&1")
    assert "this stand-in was told not to build for this kernel" in said
    assert run("sudo dpkg --audit") == ""
    sentence = not_fit(kernels, kernels.third, f"{boot_guard.GUARD} rebuild")
    assert state(run).startswith(sentence)


def test_automatic_updates_bring_a_kernel_and_the_guard_looks(
    kernels: Kernels, run: Run, box: boxes.Box
) -> None:
    run(f"{APT} purge linux-image-{kernels.third} linux-headers-{kernels.third}")
    assert state(run).startswith(not_fit(kernels, kernels.second, boot_guard.GUARD))
    older = Package(
        {
            "Package": f"linux-image-{CLOUD}", "Version": "6.0-1~lab", "Architecture": "amd64",
            "Maintainer": "deeprig's lab", "Description": "deeprig lab stand-in: an old one",
        }
    )  # fmt: skip
    boxes_folder = box.folder / older.file_name
    boxes_folder.write_bytes(older.content)
    ssh, environment = boxes.ssh_command(boxes.get(box.name))
    subprocess.run(
        [*ssh, "cat > /tmp/older.deb && sudo dpkg -i /tmp/older.deb"],
        env=environment, input=older.content, check=True, capture_output=True,
    )  # fmt: skip
    run(f"{APT} install unattended-upgrades")
    said = run("sudo unattended-upgrade -v 2>&1")
    assert f"linux-image-{kernels.third}" in run("dpkg-query -W -f '${Package}\\n'"), said
    assert boots(run) == kernels.first
    assert f"kernel {kernels.third} is not fit to boot" in state(run)


def test_a_driver_that_builds_frees_the_boot_loader(
    kernels: Kernels, run: Run, nvidia: Repository, box: boxes.Box
) -> None:
    nvidia.offer(MENDED)
    run(f"{APT} install linux-headers-{kernels.third}")
    said = run(f"sudo apt-get -q update && {APT} install {' '.join(DRIVER)} 2>&1")
    assert f"deeprig: kernel {kernels.third} boots next, with its driver." in said
    assert boots(run) == kernels.third
    assert run(f"ls {boot_guard.PIN}", check=False) == ""
    assert state(run) == f"ok {kernels.third} boots next, with driver {MENDED}"
    assert "deeprig: " not in motd(box)
    assert run_on(box, guard).changes == []


def test_what_the_guard_did_to_the_boot_loader_can_be_taken_back(
    kernels: Kernels, run: Run
) -> None:
    run(f"sudo mv /lib/modules/{kernels.third} /tmp/ && sudo {boot_guard.GUARD} look")
    assert boots(run) != kernels.third
    run(f"sudo {boot_guard.GUARD} lift")
    assert boots(run) == kernels.third
    assert run(f"ls {boot_guard.PIN} {boot_guard.KEEP}", check=False) == ""
