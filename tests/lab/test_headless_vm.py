"""What makes a box wait at its boot for somebody who is not there: each is provoked once.

GRUB, file systems, cards and boots are real. Stand-ins, as labelled: Debian's GRUB with the build
option by which Ubuntu's remembers a boot that failed, and SSH that waits as cloud-init makes it.
"""

import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from deeprig.operations import files
from deeprig.settings import Rig
from lab import box_disk, boxes, console, disk_image, monitor, network, vm
from lab.hardware import Hardware
from tasks import base, boot_trial, kernel_parameters, storage
from tests.lab.conftest import run_on, wait_for
from tests.lab.guarded import Run, shell
from tests.lab.test_storage_vm import PACKAGES

pytestmark = pytest.mark.lab

NAME = "t-headless-vm"
HARDWARE = Hardware(pci=("e1000e",))  # a second card
SECOND = "enp1s0"
CABLE, SECOND_CABLE = "lan", "e1000e.0"  # as QEMU calls them
UNCORRECTED = 4  # of e2fsck's exit status: errors were left
# The two files of GRUB's that have the option; a stand-in for Ubuntu's build of the same source.
LIKE_UBUNTU = """
sed -i 's/^quick_boot="0"/quick_boot="1"/' /etc/grub.d/00_header /etc/grub.d/10_linux
update-grub 2>&1
"""
# The lab's own initramfs was made before the box had a file system to name.
WITH_FSCK = "update-initramfs -u && sync"
SECOND_BY_DHCP = f"""
printf '\\nauto {SECOND}\\niface {SECOND} inet dhcp\\n' >> /etc/network/interfaces
"""
# As Ubuntu's installer sets up whatever cards it finds, with SSH waiting as cloud-init has it do.
BY_NETWORKD = f"""
printf 'auto lo\\niface lo inet loopback\\n' > /etc/network/interfaces
cd /etc/systemd/network
printf '[Match]\\nName=enp0s4\\n[Network]\\nAddress=%s/24\\nGateway=%s\\n' > 10-lab-first.network
printf '[Match]\\nName={SECOND}\\n[Network]\\nDHCP=yes\\n' > 20-lab-second.network
systemctl enable systemd-networkd.service systemd-networkd-wait-online.service
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Unit]\\n# deeprig lab stand-in for cloud-init\\nWants=network-online.target\\n' \\
    > /etc/systemd/system/ssh.service.d/lab.conf
echo After=network-online.target >> /etc/systemd/system/ssh.service.d/lab.conf
sync
"""


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    if NAME in [old.name for old in boxes.every()]:
        boxes.down(NAME)
    system = str(request.config.getoption("--os"))
    yield boxes.up(NAME, kind="vm", os=system, hardware=HARDWARE, packages=PACKAGES)
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.fixture(scope="module")
def run(box: boxes.Box) -> Run:
    return shell(box)


def as_root(run: Run, script: str) -> None:
    run("sudo sh -e", stdin=script)


def deploy(rig: Rig) -> None:
    """What of a deploy has to do with boots."""
    found = base.survey(rig)
    assert found and rig.storage
    files.copy(base.WAIT_ONLINE)
    base.have_program()
    boot_trial.begin()
    kernel_parameters.provide(parameters=())
    storage.provide(settings=rig.storage, survey=found)


def grub_waits(run: Run) -> set[str]:
    """The seconds that stand in GRUB's menu."""
    return set(run("sudo sed -n 's/.*set timeout=//p' /boot/grub/grub.cfg").split())


@pytest.fixture(scope="module")
def worst_boot(box: boxes.Box, run: Run) -> str:
    """What the console said at the boot after a power cut in which all went wrong at once."""
    as_root(run, LIKE_UBUNTU)
    assert "30" in grub_waits(run)  # the control: what it does by itself
    report = run_on(box, deploy)
    assert report.error is None, report.steps
    assert grub_waits(run) == {"3"}
    as_root(run, WITH_FSCK + SECOND_BY_DHCP)
    for place in ("/srv", "/data"):
        as_root(run, f"echo lost > {place}/victim; echo kept > {place}/other")
    as_root(run, "grub-editenv /boot/grub/grubenv set recordfail=1; sync")
    boxes.cut(NAME, off=True)
    system, data, *_ = box_disk.files(box)
    with box_disk.exported(system) as raw:
        damage(f"{raw}?offset={disk_image.ROOT_START}", "/srv/victim")
    damage(str(data), "/victim")
    power_on(box, SECOND_CABLE)
    boxes.up(NAME)
    return console.text(box.console, console.last(box.console, (vm.POWER_ON,)))


def power_on(box: boxes.Box, *unplugged: str) -> None:
    """With these cables pulled out before any system looks."""
    vm.power_on(box, print)
    wait_for((box.folder / vm.MONITOR).exists, 20)
    for name in unplugged:
        plug(box, name, up=False)


def plug(box: boxes.Box, name: str, *, up: bool) -> None:
    with monitor.connected(box.folder / vm.MONITOR) as qmp:
        qmp.tell("set_link", name=name, up=up)


def damage(file_system: str, victim: str) -> None:
    """A file that makes no sense, and the mark of a kernel that has noticed."""
    e2fsck("-fp", file_system)  # what the cut left to be done
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", file_system],
        input=f"sif {victim} block[0] 0\nssv state 2\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "not found" not in done.stderr, done.stderr
    # The control: it is none that is mended without a question.
    assert e2fsck("-p", file_system) & UNCORRECTED


def e2fsck(how: str, file_system: str) -> int:
    return subprocess.run(["e2fsck", how, file_system], check=False, capture_output=True).returncode


def test_the_menu_waits_3_seconds_after_a_boot_that_failed(worst_boot: str, run: Run) -> None:
    waited = [int(n) for n in re.findall(r"executed automatically in (\d+)s", worst_boot)]
    assert waited and max(waited) <= 3
    listed = run("sudo grub-editenv /boot/grub/grubenv list")
    assert "recordfail=1" not in listed  # this one was good


def test_a_damaged_root_is_mended_without_a_question(worst_boot: str, run: Run) -> None:
    assert "FILE SYSTEM WAS MODIFIED" in run("sudo cat /run/initramfs/fsck.log")
    assert clean(run, "/dev/vda2")
    assert run("cat /srv/other").strip() == "kept"
    assert run("cat /srv/victim", check=False) == ""


def test_a_damaged_data_disk_is_mended_without_a_question(worst_boot: str, run: Run) -> None:
    # Nothing waits for it, so the login is there first.
    run("for second in $(seq 240); do findmnt /data && exit; sleep 1; done; exit 1")
    assert clean(run, "/dev/disk/by-id/virtio-lab-data-disk")
    assert run("cat /data/other").strip() == "kept"
    assert run("cat /data/victim", check=False) == ""


def clean(run: Run, device: str) -> bool:
    [line] = run(f"sudo tune2fs -l {device} | grep 'Filesystem state'").splitlines()
    return line.split()[2:] == ["clean"]


def test_a_second_card_without_a_cable_holds_no_boot(worst_boot: str, run: Run) -> None:
    assert run(f"cat /sys/class/net/{SECOND}/carrier").strip() == "0"  # the control
    assert took(run, "networking.service") < 60


def took(run: Run, unit: str) -> float:
    """Seconds from the start of a unit to its end, or until it was up."""
    moments = ("InactiveExit", "ActiveEnter")
    shown = [run(f"systemctl show -P {m}TimestampMonotonic {unit}") for m in moments]
    started, ended = (int(moment) / 1e6 for moment in shown)
    print(f"{unit}: {ended - started:.0f} s")
    assert ended > started
    return ended - started


def test_nor_where_networkd_looks_after_it_and_ssh_waits_for_the_network(
    box: boxes.Box, run: Run, worst_boot: str
) -> None:
    as_root(run, BY_NETWORKD % (box.host, network.GATEWAY))
    boxes.cut(NAME, off=True)
    power_on(box, SECOND_CABLE)
    boxes.up(NAME)
    unit = "systemd-networkd-wait-online"
    assert took(run, f"{unit}.service") < 45
    assert run("systemctl is-failed ssh.service", check=False).strip() == "active"
    assert run("systemctl --failed --plain --no-legend") == ""
    alone = f"/lib/systemd/{unit} --timeout=60 2>&1; echo $?"
    assert "Timeout occurred" in run(alone)  # the control: by itself it waits for all cards


def test_the_box_boots_without_its_cable_and_is_there_when_it_is_put_back(
    box: boxes.Box, run: Run, worst_boot: str
) -> None:
    run("sync")
    boxes.cut(NAME, off=True)
    power_on(box, CABLE, SECOND_CABLE)

    def prompt() -> bool:
        since = console.last(box.console, (vm.POWER_ON,))
        return vm.PROMPT in console.text(box.console, since)

    print(f"a login prompt after {wait_for(prompt, vm.SECONDS_TO_BOOT):.0f} s")
    assert vm.ssh_port(box) is None  # the control: it is out
    plug(box, CABLE, up=True)
    boxes.up(NAME)
    assert "failed" not in run("systemctl is-failed ssh.service", check=False)
