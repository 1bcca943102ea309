"""A VM with its own boot loader is cut and rebooted, and comes up with its driver each time.

The kernels, GRUB, DKMS and the reboots are real. Stand-ins: the driver (lab/stand_ins), whose
module builds, loads and drives nothing, and the card. What builds for minutes on an emulated
processor, and is not what is looked at, is done while the box is off: offline.py.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deeprig.operations import footprint
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.nvidia_repository import Repository
from tasks import boot_guard, manifest, notify, reboot
from tests.lab import conftest, offline
from tests.lab.conftest import ROOT, run_on, variant
from tests.lab.drivers import RTX_3090
from tests.lab.guarded import (
    A_CARD,
    APT,
    FIRST,
    MENDED,
    NEWEST_DRIVER,
    Run,
    boot_id,
    choose_once,
    guard,
    know,
    motd,
    shell,
    state,
)
from tests.lab.receivers import Ntfy

pytestmark = pytest.mark.lab

OS, DIST = "debian-13", "debian13"
HELD = "sudo mkdir -p /run/lab-card/nouveau && sudo ln -s nouveau /run/lab-card/driver"
# Made on another machine, it cannot find out what this one has; its base image names that.
SMALL_INITRAMFS = "echo MODULES=list > /etc/initramfs-tools/conf.d/lab"
# `deeprig verify` of this component alone.
CHECKS = """
import json, sys
from pathlib import Path
from deeprig import inventories
from deeprig_cli.verify import runner
boxes = inventories.load(Path(sys.argv[1]))
found = runner.run(boxes, "live", lambda check: None, ["boot_guard"])
print(json.dumps({check.check: [check.outcome, check.reason] for check in found}))
"""
# What `pyinfra inventory.py` runs in the place of deploy.py.
GUARD_AND_REBOOT = """
from pyinfra.context import config, host
from tests.lab.test_boot_guard_vm import deploy
config.SUDO = True
deploy(host.data.rig)
"""


@pytest.fixture(scope="module")
def box() -> Iterator[boxes.Box]:
    """A VM with its one kernel, and what builds modules for it."""
    name = "g-boot-guard"
    if name in [box.name for box in boxes.every()]:
        boxes.down(name)
    yield boxes.up(name, os=OS, kind="vm", packages=("curl", "dkms", "gcc", "linux-headers-amd64"))
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture(scope="module")
def kernels(run: Run) -> tuple[str, str]:
    """The kernel that is there, and the one that comes later: the same for the cloud, which GRUB
    takes for the newer one.
    """
    there = run("uname -r").strip()
    return there, there.replace("-amd64", "-cloud-amd64")


@pytest.fixture(scope="module")
def nvidia(box: boxes.Box, kernels: tuple[str, str]) -> Iterator[Repository]:
    """The driver is on the box, and nothing looks after it yet."""
    with nvidia_repository.serve([DIST], []) as repository:
        repository.offer(FIRST, fails_for=kernels[1])
        offline.run(box, f"cd /root && {know(repository, DIST)} && {NEWEST_DRIVER}")
        yield repository


def deploy(rig: Rig) -> None:
    guard(rig, A_CARD)
    reboot.when_due(rig=rig)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def failed(report: Report) -> str:
    return "".join(step.output for step in report.steps if step.status == "failed")


def up(run: Run) -> tuple[str, str]:
    """The kernel that is up, and the version of the module that is loaded in it."""
    kernel, version = run("uname -r; cat /sys/module/nvidia/version 2>&- || echo none").split()
    return kernel, version


def test_the_first_deploy_proves_the_module_and_loads_it(
    box: boxes.Box, kernels: tuple[str, str], nvidia: Repository, run: Run
) -> None:
    assert up(run) == (kernels[0], "none")
    before = boot_id(run)
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert boot_id(run) == before
    assert up(run) == (kernels[0], FIRST)
    assert state(run) == f"ok {kernels[0]} boots next, with driver {FIRST}"
    assert run_on(box, deploy).changes == []
    run(f"sudo tee {manifest.PATH}", stdin='{"deeprig": "before"}\n')


def test_after_a_power_cut_the_box_is_up_with_the_old_kernel_and_its_module(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    """A second kernel came, and its build failed."""
    run("sync")
    install = f"{APT} install linux-image-{kernels[1]} linux-headers-{kernels[1]}"
    said = offline.run(box, f"{SMALL_INITRAMFS}; {install}")
    assert "this stand-in was told not to build for this kernel" in said
    assert run("sudo dpkg --audit") == ""
    assert up(run) == (kernels[0], FIRST)
    assert run_on(box, deploy).changes == []


def test_a_login_verify_and_notify_say_so_in_one_sentence(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    [sentence] = state(run).splitlines()
    assert sentence.startswith(
        f"kernel {kernels[1]} is not fit to boot (there is no nvidia for kernel {kernels[1]}); the "
        f"box boots {kernels[0]} until it is; `sudo {boot_guard.GUARD} rebuild {kernels[1]}` "
    )
    assert f"deeprig: {sentence}." in motd(box)
    found = verified(box)
    assert found["the newest kernel is the one that boots"] == ["warned", sentence]
    assert [outcome for outcome, _ in found.values()].count("failed") == 0
    assert notified(box, run) == [f"{sentence[0].upper()}{sentence[1:]}."]


def verified(box: boxes.Box) -> dict[str, list[str]]:
    """Check -> outcome and reason, of the guard's part of `deeprig verify`."""
    driver = f'driver=Driver(gpus=("{RTX_3090}",), source="nvidia")'
    file = variant(
        box,
        box.inventory.with_name("verify.py"),
        ("import Notebook,", "import Driver, Notebook,"),
        ('notebook=Notebook(user="ai")', f"notebook=None, cuda=None, {driver}"),
    )
    done = subprocess.run(
        [sys.executable, "-c", CHECKS, str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def notified(box: boxes.Box, run: Run) -> list[str]:
    """What the box's watch sends of the next boot, to a stand-in for an ntfy server."""
    server = Ntfy()
    server.start()
    report = run_on(box, lambda rig: notify.provide(to=server.url("lab"), relay=None))
    assert report.error is None, failed(report)
    run(f"sudo systemctl start {notify.SERVICE}")
    run_on(box, lambda rig: footprint.take_out("notify", notify.FOOTPRINT))
    server.stop()
    return [
        message.text.splitlines()[0] for message in server.got if "the next boot" in message.title
    ]


def test_our_reboot_is_refused_where_the_kernel_that_boots_next_has_no_module(
    box: boxes.Box, kernels: tuple[str, str], run: Run, tmp_path: Path
) -> None:
    """A person chose it for once; and a reboot is owed."""
    code = tmp_path / "guard_and_reboot.py"
    code.write_text(GUARD_AND_REBOOT)
    choose_once(run, kernels[1])
    run(HELD)
    before = boot_id(run)
    done = conftest.deploy(box, code)
    run("sudo grub-editenv /boot/grub/grubenv unset next_entry && sudo rm -r /run/lab-card")
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    [sentence] = {line.partition("] ")[2] for line in said if "No reboot: " in line}
    why = f"there is no nvidia for kernel {kernels[1]}; `sudo {boot_guard.GUARD} rebuild"
    assert sentence.startswith(f"No reboot: kernel {kernels[1]} boots next, and {why}")
    assert any("this stand-in was told not to build for this kernel" in line for line in said)
    assert boot_id(run) == before
    assert run("sudo dpkg --audit") == ""


def test_a_mended_module_lets_the_newer_kernel_through(
    box: boxes.Box, kernels: tuple[str, str], run: Run, nvidia: Repository
) -> None:
    nvidia.offer(MENDED)
    run("sync")
    offline.run(box, f"{NEWEST_DRIVER}; {boot_guard.GUARD} rebuild {kernels[0]}")
    assert up(run) == (kernels[1], MENDED)
    assert state(run) == f"ok {kernels[1]} boots next, with driver {MENDED}"
    assert run(f"ls {boot_guard.PIN}", check=False) == ""
    assert "deeprig: " not in motd(box)


def test_a_reboot_waits_while_something_runs(
    box: boxes.Box, run: Run, said: Callable[[], str]
) -> None:
    run(HELD)
    before = boot_id(run)
    run("nohup sleep 1800 > /dev/null 2>&1 < /dev/null &")
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert "A reboot is owed: nouveau holds the card lab-card. Left pending: there runs" in said()
    assert "sleep of deeprig" in said()
    assert boot_id(run) == before


def test_an_idle_box_is_rebooted_and_the_deploy_sees_the_driver_in_use(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    run("pkill sleep")
    before = boot_id(run)
    report = run_on(box, deploy)
    assert report.error is None, failed(report)
    assert boot_id(run) != before
    assert up(run) == (kernels[1], MENDED)


def test_a_kernel_that_refuses_its_module_is_booted_once(
    box: boxes.Box, kernels: tuple[str, str], run: Run
) -> None:
    """The module has all the right marks, and is another kernel's."""
    place = "/lib/modules/{}/updates/dkms/nvidia.ko*"
    old, new = (run(f"ls {place.format(kernel)}").strip() for kernel in kernels)
    run(f"sudo cp {new} /root/right.ko && sudo cp {old} {new} && sync")
    boxes.cut(box.name)
    assert up(run) == (kernels[1], "none")
    run(f"sudo systemctl start {boot_guard.UNIT}")  # back when it has looked, GRUB's menu made anew
    assert f"kernel {kernels[1]} is not fit to boot (modprobe: ERROR" in state(run)
    boxes.cut(box.name)
    assert up(run) == (kernels[0], MENDED)
    run(f"sudo cp /root/right.ko {new} && sudo {boot_guard.GUARD} look")
    assert state(run) == f"ok {kernels[1]} boots next, with driver {MENDED}"
