"""A VM that a change would have cut off, or would not have booted, is back without anybody's hand.

Kernel, GRUB, network, panics, hangs and the reboots are real; the watchdog is QEMU's.
"""

import json
import os
from collections.abc import Iterator

import pytest

from deeprig.errors import DeeprigError
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from lab import boxes, console, vm
from lab.hardware import Hardware
from tasks import base, boot_trial, kernel_parameters, reboot
from tests import documents
from tests.lab.conftest import run_on
from tests.lab.guarded import Run, boot_id, shell

pytestmark = pytest.mark.lab

HARMLESS, DEADLY, HANGS = "deeprig.lab=1", "init=/bin/false", "deeprig.lab.hang"
INTERFACES = "/etc/network/interfaces"
STATE = "/var/lib/deeprig/boot-trial.json"
NO_OTHER = "/etc/modprobe.d/lab.conf"
PATIENCE = 3  # minutes, instead of a quarter of an hour
# Behind everything that runs: nothing gets the box's one processor any more. From 6.12 on a server
# of the kernel's keeps a twentieth of it for ordinary programs, whatever the rest may take.
FAIR = "/sys/kernel/debug/sched/fair_server/cpu0/runtime"
HANG = f"""\
[Unit]
Description=deeprig lab: hang silently
ConditionKernelCommandLine={HANGS}
DefaultDependencies=no
After=systemd-udevd.service
[Service]
ExecStart=/bin/sh -c 'sleep 20; sysctl -w kernel.sched_rt_runtime_us=-1; \
mount -t debugfs none /sys/kernel/debug; [ ! -e {FAIR} ] || echo 0 > {FAIR}; \
exec chrt -f 99 sh -c "while :; do :; done"'
[Install]
WantedBy=basic.target
"""


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    system = str(request.config.getoption("--os"))
    if "t-boot-trial" in [old.name for old in boxes.every()]:
        boxes.down("t-boot-trial")
    made = boxes.up("t-boot-trial", os=system, kind="vm", hardware=Hardware(pci=("watchdog",)))
    # QEMU's board has a watchdog of its own that starts nothing anew unless QEMU is told to.
    shell(made)(f"printf 'blacklist iTCO_wdt\\n' | sudo tee {NO_OTHER}; echo i6300esb | "
                "sudo tee /etc/modules-load.d/lab.conf; sudo update-initramfs -u; "
                "sudo modprobe -r iTCO_wdt; sudo modprobe i6300esb")  # fmt: skip
    yield made
    if not os.environ.get("KEEP"):
        boxes.down("t-boot-trial")


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


def deploy(box: boxes.Box, *parameters: str) -> Report:
    """The parts of a deploy that decide how the box boots."""

    def build(rig: Rig) -> None:
        base.have_program()
        boot_trial.begin()
        kernel_parameters.provide(parameters=parameters)
        boot_trial.arm()
        reboot.when_due(rig=rig)

    return run_on(box, build)


def failure(report: Report) -> str:
    return "".join(step.output for step in report.steps if step.status == "failed")


def words(run: Run) -> list[str]:
    return run("cat /proc/cmdline").split()


def mark(run: Run) -> str:
    return run("sudo grub-editenv /boot/grub/grubenv list | sed -n s/deeprig_trial=//p").strip()


def state(run: Run) -> str:
    return run(f"sudo {boot_trial.SCRIPT} state").strip()


def test_a_parameter_is_in_use_after_one_deploy_and_its_reboot(box: boxes.Box, run: Run) -> None:
    before = boot_id(run)
    report = deploy(box, HARMLESS)
    assert report.error is None, failure(report)
    assert boot_id(run) != before
    assert {HARMLESS, "panic=30", "fsck.repair=yes"} <= set(words(run))
    said = "".join(step.output for step in report.steps)
    assert "If it hangs silently, its watchdog (i6300ESB timer) starts it anew." in said
    assert (mark(run), state(run)) == ("", "ok")
    assert deploy(box, HARMLESS).changes == []


def test_a_menu_that_would_boot_nothing_does_not_replace_the_old_one(
    box: boxes.Box, run: Run
) -> None:
    before = run("sudo sha256sum /boot/grub/grub.cfg")
    run("sudo tee /etc/grub.d/06_lab", stdin="#!/bin/sh\necho \"menuentry 'Other' { exit }\"\n")
    run("sudo chmod 755 /etc/grub.d/06_lab")
    report = deploy(box, HARMLESS, "quiet")
    run("sudo rm /etc/grub.d/06_lab")
    assert "would boot no kernel of this system" in failure(report)
    assert run("sudo sha256sum /boot/grub/grub.cfg") == before
    assert "quiet" not in run(f"cat {kernel_parameters.PARAMETERS}")
    assert deploy(box, HARMLESS).error is None


def test_a_kernel_that_panics_is_followed_by_the_old_parameters(box: boxes.Box, run: Run) -> None:
    report = deploy(box, HARMLESS, DEADLY)
    assert "a boot with new settings did not come up, so it went back" in failure(report)
    assert "Kernel panic - not syncing" in console.text(box.console)
    assert DEADLY not in words(run)
    assert HARMLESS in words(run)
    assert DEADLY not in run(f"cat {kernel_parameters.PARAMETERS}")
    assert "did not come up" in run("cat /run/motd.dynamic 2>&- || run-parts /etc/update-motd.d")
    assert deploy(box, HARMLESS).error is None
    assert (mark(run), state(run)) == ("", "ok")


def test_a_network_that_cuts_the_box_off_is_taken_back_by_the_box(box: boxes.Box, run: Run) -> None:
    """It gives itself an address where nobody looks for it."""
    before = run(f"cat {INTERFACES}")
    run(f"sudo sed -i 's/{box.host}/192.0.2.9/' {INTERFACES}")
    assert "192.0.2.9" in run(f"cat {INTERFACES}")
    was = json.loads(run(f"sudo cat {STATE}"))
    run(f"sudo tee {STATE}", stdin=json.dumps(was | {"minutes": PATIENCE}))
    report = deploy(box, HARMLESS, "quiet")
    assert f"nobody came in within {PATIENCE} minutes" in failure(report)
    assert run(f"cat {INTERFACES}") == before
    assert "quiet" not in words(run)


def test_a_silent_hang_is_ended_by_the_watchdog(box: boxes.Box, run: Run) -> None:
    run("sudo tee /etc/systemd/system/lab-hang.service", stdin=HANG)
    run("sudo systemctl enable lab-hang.service")
    report = deploy(box, HARMLESS, HANGS)
    assert "did not come up, so it went back" in failure(report)
    assert HANGS not in words(run)


def test_without_a_watchdog_that_takes_the_switch_and_is_said_beforehand(
    box: boxes.Box, run: Run
) -> None:
    run(f"echo 'install i6300esb /bin/true' | sudo tee -a {NO_OTHER}; sudo update-initramfs -u")
    boxes.reboot(box.name)
    run(f"sudo {boot_trial.SCRIPT} keep")
    run(f"sudo tee {kernel_parameters.PARAMETERS}",
        stdin=f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {HANGS}"\n')  # fmt: skip
    told = run(f"sudo {boot_trial.SCRIPT} renew && sudo {boot_trial.SCRIPT} arm")
    assert "no hardware watchdog: if it hangs silently, only its switch helps" in told
    run("sudo systemctl reboot", check=False)
    with pytest.raises(DeeprigError):
        vm.wait_for_login(boxes.get(box.name), seconds=400)
    boxes.cut(box.name)
    assert HANGS not in words(run)
    assert "did not come up, so it went back" in state(run)


def test_the_document_says_how_to_take_it_out(box: boxes.Box, run: Run) -> None:
    lines = documents.lines(documents.TOP / "docs/boot_trial.md")
    removal = [line for line in lines if line.startswith("sudo ") and not line.endswith(" state")]
    assert removal[-1] == "sudo update-grub"
    for line in removal:
        run(line)
    boxes.reboot(box.name)
    assert HARMLESS not in words(run)
    left = "/etc/systemd/system /etc/grub.d /etc/default /etc/update-motd.d /boot/grub"
    assert run(f"sudo grep -rlE 'boot-trial|deeprig_trial' {left}; [ $? = 1 ]") == ""
    assert run("systemctl --failed --plain --no-legend") == ""
