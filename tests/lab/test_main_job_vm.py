"""The whole job on a machine with a kernel of its own: over reboots, a power cut, a new kernel.

No driver and no CUDA: there is no card, and building for one would take hours here.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from deeprig import catalog
from lab import boxes
from lab.hardware import Hardware
from tests.lab import clock
from tests.lab.conftest import cut_while, deploy
from tests.lab.guarded import APT, Run, boot_id, shell
from tests.lab.test_main_job import different, verify

pytestmark = pytest.mark.lab

SECONDS_TO_VERIFY = 1800
# timesyncd asks before this network is up, which takes a minute here, and again after minutes only.
ASK_THE_TIME = """
sudo systemctl restart systemd-timesyncd
for second in $(seq 120); do
    timedatectl show -p NTPSynchronized --value | grep -q yes && exit; sleep 1
done
exit 1
"""
PARAMETER = "deeprig.lab=1"  # what the reboot in the middle is for
# What only a machine of its own can show; each skips in a container.
ONLY_HERE = {
    ("base", "the clock is kept right"),
    ("base", "the boot menu waits for nobody"),
    ("boot_trial", "the parameters that are set are in use"),
    ("storage", "each data disk is mounted by uuid and may be missing at boot"),
    ("storage", "ssds are told what is free"),
}


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """A VM whose base has the packages of every day: under emulation apt takes its time."""
    system = str(request.config.getoption("--os"))
    name = f"t-main-vm-{system.removeprefix('debian-')}"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    packages = tuple(catalog.load("packages")["tools"])
    made = boxes.up(name, os=system, kind="vm", packages=packages, hardware=Hardware(memory=3072))
    words = made.inventory.read_text().replace(
        "rig=Rig(", f'rig=Rig(kernel_parameters=("{PARAMETER}",), driver=None, cuda=None,'
    )
    made.inventory.write_text(words)
    with clock.serving() as server:
        shell(made)(
            "sudo mkdir -p /etc/systemd/timesyncd.conf.d && "
            f"printf '[Time]\\nNTP={server}\\n' | sudo tee /etc/systemd/timesyncd.conf.d/lab.conf"
        )
        yield made
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture(scope="module")
def deployed(box: boxes.Box, run: Run) -> boxes.Box:
    """The power failed in the middle; the same command went on, and rebooted where it had to."""
    ordinary = box.inventory.with_name("ordinary.py")  # a cut would boot with the parameter
    text = box.inventory.read_text()
    ordinary.write_text(text.replace(f'kernel_parameters=("{PARAMETER}",), ', ""))
    assert PARAMETER not in ordinary.read_text()
    cut_while(box, "Python tools, begun | Begin to make what does not stand", 60, ordinary)
    assert PARAMETER not in run("cat /proc/cmdline").split()
    before = boot_id(run)
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    assert boot_id(run) != before
    assert PARAMETER in run("cat /proc/cmdline").split()
    return box


def proved(box: boxes.Box) -> list[dict[str, Any]]:
    shell(box)(ASK_THE_TIME)
    return verify(box.inventory, SECONDS_TO_VERIFY)


def test_the_box_is_right_after_one_command_with_a_reboot_in_it(
    deployed: boxes.Box, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = proved(deployed)
    ran = different([check for check in checks if check["outcome"] == "passed"])
    with capsys.disabled():
        for reason in sorted({c["reason"] for c in checks if c["outcome"] == "skipped"}):
            print(f"\nskipped in a VM of {deployed.os}: {reason}", end="")
    assert ONLY_HERE - ran == set()


def test_the_second_deploy_changes_nothing(deployed: boxes.Box) -> None:
    done = deploy(deployed)
    assert done.returncode == 0
    [total] = [line for line in (done.stdout + done.stderr).splitlines() if "Grand total" in line]
    assert total.split()[-3:-1] == ["-", "-"], total


def test_all_is_well_after_another_reboot(deployed: boxes.Box) -> None:
    boxes.reboot(deployed.name)
    proved(deployed)


def test_all_is_well_after_a_power_cut(deployed: boxes.Box) -> None:
    boxes.cut(deployed.name)
    proved(deployed)


def test_all_is_well_with_another_kernel(deployed: boxes.Box, run: Run) -> None:
    """GRUB takes the one for the cloud for the newer of two that are otherwise the same."""
    kernel = run("uname -r").strip().replace("-amd64", "-cloud-amd64")
    run(f"sudo apt-get -q update && {APT} install linux-image-{kernel}")
    boxes.reboot(deployed.name)
    assert run("uname -r").strip() == kernel
    assert PARAMETER in run("cat /proc/cmdline").split()
    proved(deployed)
