"""A VM whose / is a LUKS volume: its boot waits for a passphrase, and no run of ours reboots it.

The installed system is copied to a disk of its own, which is encrypted; kernel, initramfs and GRUB
stay where they were. The passphrase is typed on the VM's keyboard.
"""

import logging
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from deeprig.facts import encryption
from deeprig.facts.encryption import Lock
from deeprig.facts.survey import Survey
from deeprig.settings import Rig
from deeprig.ssh import connection
from lab import boxes, monitor, vm
from lab.hardware import Hardware
from tasks import base, boot_trial, kernel_parameters, reboot
from tests.lab.conftest import DEEPRIG, ROOT, host_data, run_on

pytestmark = pytest.mark.lab

NAME = "t-encrypted"
SECRET = "secret"
# Few rounds: an emulated processor counts them slowly.
FORMAT = "--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 -q"
COPY = f"""
apt-get -q update
apt-get -q -y install e2fsprogs
printf {SECRET} | cryptsetup luksFormat {FORMAT} /dev/vdc -
printf {SECRET} | cryptsetup open --key-file=- /dev/vdc cryptroot
mkfs.ext4 -q /dev/mapper/cryptroot
mount /dev/mapper/cryptroot /mnt
echo "cryptroot UUID=$(blkid -s UUID -o value /dev/vdc) none luks,initramfs" > /etc/crypttab
echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX root=/dev/mapper/cryptroot console=tty0"' \\
    > /etc/default/grub.d/99-lab.cfg
update-initramfs -u
update-grub
cp -ax / /mnt
mkdir /mnt/plain
sed -i 's,^[^ ]* / ,/dev/vda2 /plain ,; /mnt.data-disk/d' /mnt/etc/fstab
printf '%s\\n' '/dev/mapper/cryptroot / ext4 errors=remount-ro 0 1' \\
    '/plain/boot /boot none bind 0 0' >> /mnt/etc/fstab
sync
"""


def run(box: boxes.Box, command: str) -> str:
    with connection.connect(host_data(box)) as client:
        _, output, errors = client.exec_command(command, timeout=900)
        text = output.read().decode()
        assert output.channel.recv_exit_status() == 0, errors.read().decode()
    return text


def surveyed(box: boxes.Box) -> Survey:
    found: list[Survey] = []

    def look(rig: Rig) -> None:
        there = base.look(rig)
        assert there
        found.append(there)

    assert run_on(box, look, dry=True).error is None
    return found[0]


def press(box: boxes.Box, *keys: str) -> None:
    with monitor.connected(box.folder / vm.MONITOR) as qmp:
        for key in keys:
            qmp.tell("send-key", keys=[{"type": "qcode", "data": key}])
            time.sleep(0.2)


def type_until(box: boxes.Box, over: threading.Event) -> None:
    """The passphrase, again and again: where it is asked for is a screen that nobody sees."""
    while not over.wait(15):
        press(box, *SECRET, "ret")


@pytest.fixture(scope="module")
def box() -> Iterator[boxes.Box]:
    box = boxes.up(
        NAME, kind="vm", packages=("cryptsetup-initramfs",), hardware=Hardware(disks=("3G",))
    )
    yield box
    boxes.down(NAME)


@pytest.fixture(scope="module")
def encrypted(box: boxes.Box) -> boxes.Box:
    assert surveyed(box).locks == ()  # the control
    run(box, f"sudo sh -ec {shlex.quote(COPY)}")
    over = threading.Event()
    vm.reboot(box)
    time.sleep(90)  # nobody is there: it must not come up by itself
    assert vm.ssh_port(box) is None
    typing = threading.Thread(target=type_until, args=(box, over))
    typing.start()
    try:
        vm.wait_for_login(box)
    finally:
        over.set()
        typing.join()
    assert run(box, "findmnt -no SOURCE /").strip() == "/dev/mapper/cryptroot"
    return box


def test_the_survey_finds_what_the_boot_waited_for(encrypted: boxes.Box) -> None:
    assert surveyed(encrypted).locks == (Lock("cryptroot", "/", "console"),)


def test_a_reboot_that_is_owed_is_left_to_a_person(
    encrypted: boxes.Box, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="pyinfra")
    before = run(encrypted, "cat /proc/sys/kernel/random/boot_id")

    def build(rig: Rig) -> None:
        survey = base.survey(rig)
        assert survey
        base.have_program()
        boot_trial.begin()
        kernel_parameters.provide(parameters=("deeprig.lab=1",))
        boot_trial.arm()
        reboot.when_due(rig=rig, asks=encryption.sentence(survey.locks))

    report = run_on(encrypted, build)
    assert report.error is None
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert (
        "Left pending: / is encrypted (cryptroot), and each boot waits for its passphrase" in said
    )
    assert run(encrypted, "cat /proc/sys/kernel/random/boot_id") == before


def test_plan_says_so(encrypted: boxes.Box) -> None:
    done = subprocess.run(
        [DEEPRIG, "plan", "--inventory", str(encrypted.inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert "/ is encrypted (cryptroot), and each boot waits for its passphrase at its own " in (
        done.stdout
    )


def test_off_leaves_it_on(encrypted: boxes.Box) -> None:
    """A packet would power it on, and its boot would wait for somebody at its screen."""
    done = subprocess.run(
        [DEEPRIG, "off", NAME, "--inventory", str(encrypted.inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "/ is encrypted (cryptroot), and each boot waits for its passphrase at its own " in (
        done.stdout
    )
    assert run(encrypted, "findmnt -no SOURCE /").strip() == "/dev/mapper/cryptroot"
