"""A machine with a kernel and a boot loader of its own, over one boot from its prepared image."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import boxes, cgroups, console, paths, shell
from lab.network import ROUTER, port

pytestmark = pytest.mark.lab

DEEPRIG = str(Path(sys.executable).with_name("deeprig"))


@pytest.fixture(scope="module")
def vm(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    if "t-vm" in [box.name for box in boxes.every()]:
        boxes.down("t-vm")
    yield boxes.up("t-vm", kind="vm", os=str(request.config.getoption("--os")), say=print)
    boxes.down("t-vm")
    assert not (paths.state() / "t-vm").exists()
    assert cgroups.pids("t-vm") == []


def on(box: boxes.Box, command: str, *, seconds: float = 300) -> str:
    login, environment = boxes.ssh_command(box)
    done = subprocess.run(
        [*login, command],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def test_it_came_up_by_firmware_and_grub_on_a_kernel_of_its_own(vm: boxes.Box) -> None:
    assert vm.public()["user"] == "deeprig"
    assert on(vm, "uname -r") != shell.run("uname", "-r").strip()
    on(vm, "test -d /sys/firmware/efi && sudo test -s /boot/grub/grub.cfg")
    assert on(vm, "sed -n 's/^BOOT_IMAGE=//p' /proc/cmdline").startswith("/boot/vmlinuz-")


def test_nothing_has_failed(vm: boxes.Box) -> None:
    assert on(vm, "systemctl --failed --plain --no-legend") == ""


def test_the_data_disk_is_there_with_the_uuid_that_the_inventory_names(vm: boxes.Box) -> None:
    uuid = on(vm, "sudo blkid -s UUID -o value /dev/disk/by-id/virtio-lab-data-disk")
    assert f'uuid="{uuid}"' in vm.inventory.read_text()


def test_the_console_log_has_what_the_kernel_said(vm: boxes.Box) -> None:
    shown = subprocess.run(
        [DEEPRIG, "lab", "console", vm.name], check=True, capture_output=True, text=True
    ).stdout
    assert f"Linux version {on(vm, 'uname -r')}" in shown
    assert f"{vm.name} login: " in shown
    assert console.dead_end(vm.console) == ""


def test_its_cable_is_in_the_network_of_the_containers(vm: boxes.Box) -> None:
    cable = shell.run("ip", "-n", ROUTER, "-brief", "link", "show", port(vm.host))
    assert "UP" in cable
    assert f" {vm.host}/24" in on(vm, "ip -brief address show enp0s4")


def test_another_hardware_is_another_box(vm: boxes.Box) -> None:
    done = subprocess.run(
        [DEEPRIG, "lab", "up", vm.name, "--kind", "vm", "--iommu"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"`deeprig lab down {vm.name}` first" in done.stderr.splitlines()[-1]
