"""Boxes with kernels, GRUB's menu and a driver, for the tests of the boot guard and of reboots.

Stand-ins, each labelled: the driver (lab/stand_ins; its modules really build, by DKMS), grub-probe
(a container's / is no disk), and the card, or what would need a reboot for its sake.
"""

import atexit
import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from deeprig.operations import box_program, files
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from lab import boxes, console, vm
from lab.stand_ins.nvidia_repository import Repository
from tasks import base, boot_guard

Run = Callable[..., str]
APT = "sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends"
DISTS = {"debian-12": "debian12", "debian-13": "debian13"}
# The flavour for virtual machines is a third of the other, and has no nouveau.
CLOUD, WHOLE = "cloud-amd64", "amd64"
KERNELS = {
    "debian-12": "^linux-image-6[.]1[.]0-[0-9]+-{flavour}$",
    "debian-13": "^linux-image-[0-9.]+[+]deb13(.[0-9]+)?-{flavour}$",
}
FIRST, MENDED = "580.173.02", "580.178.04"
DRIVER = ("nvidia-kernel-open-dkms", "nvidia-driver-cuda")
NEWEST_DRIVER = f"sudo apt-get -q update && {APT} install {' '.join(DRIVER)}"
PLAN = StackPlan(
    driver_branch="580", module_flavour="open", modules="dkms", module="nvidia",
    dkms_name="nvidia", driver_packages=DRIVER,
)  # fmt: skip
PROOF = "deeprig_box/nvidia/driver.py"
OWED = "/var/lib/deeprig/lab-reboot-owed"
# Behind the proof on a container: what would need a reboot for a card's sake, since there is none.
A_REASON = f'''

def in_use() -> str:
    """deeprig lab stand-in: a reboot is owed as long as the boot lasts that stands in {OWED}."""
    owed = Path("{OWED}")
    boot, _, why = owed.read_text().strip().partition(" ") if owed.exists() else ("", "", "")
    now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"reboot: {{why}}" if boot in (now, "every") else "ok"
'''
# Behind the proof on a VM: a card, which nouveau may be made to hold until the next boot.
A_CARD = '''

def cards() -> list:
    """deeprig lab stand-in: one card, held by whatever driver /run/lab-card/driver leads to."""
    return [Path("/run/lab-card")]
'''
ONE_CONNECTION = ("-oControlPersist=120", "-oServerAliveInterval=20", "-oServerAliveCountMax=3")
PROBE = """\
#!/bin/sh
# deeprig lab stand-in for grub-probe: a container's / is on no disk that GRUB could know.
target= last=
for word; do
    case $word in --target=*) target=${word#--target=} ;; esac
    case $last in -t) target=$word ;; esac
    last=$word
done
case $target in
device) echo /dev/vda1 ;;
fs_uuid) echo 3bd0b9f4-6d4c-4a7e-9c57-5d20a1f0e7aa ;;
fs) echo ext2 ;;
partmap) echo gpt ;;
drive) echo '(hd0,gpt1)' ;;
esac
"""
# Debian's hook runs update-grub on metal and in VMs only.
GRUB_IN_A_CONTAINER = """
set -e
dpkg-divert --quiet --local --rename --add /usr/sbin/grub-probe
install -m 755 /dev/stdin /usr/sbin/grub-probe
sed -i '/^if type systemd-detect-virt/,/^fi/d' /etc/kernel/post*.d/zz-update-grub
cp /usr/share/grub/default/grub /etc/default/grub
mkdir -p /boot/grub
grub-editenv /boot/grub/grubenv create
update-grub
"""


def shell(box: boxes.Box) -> Run:
    """Run a command on the box as the deploy user; longer ones than conftest's."""

    def run(command: str, *, check: bool = True, stdin: str = "") -> str:
        ssh, environment = boxes.ssh_command(boxes.get(box.name))
        done = subprocess.run(
            [*ssh, *_one_login(box), command], env=environment, input=stdin,
            capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-3000:]}{done.stderr}"
        return done.stdout

    return run


def _one_login(box: boxes.Box) -> list[str]:
    """One for each boot of a VM, where each takes seconds."""
    if box.kind != "vm":
        return []
    place = box.folder / f"ssh-{console.last(box.console, vm.BOOT_SIGNS)}"
    return [f"-oControlPath={place}", "-oControlMaster=auto", *ONE_CONNECTION]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def archive_kernels(run: Run, os: str, flavour: str = CLOUD) -> list[str]:
    """The kernels that the archive has, the newest at the end."""
    run("sudo apt-get -q update")
    said = run(f"apt-cache search --names-only '{KERNELS[os].format(flavour=flavour)}'")
    names = "\n".join(line.split()[0].removeprefix("linux-image-") for line in said.splitlines())
    return run("sort -V", stdin=names).split()


def install_kernel(run: Run, kernel: str) -> None:
    """A kernel as a container has none, with its headers, and the boot loader's menu of it."""
    run("sudo mkdir -p /etc/initramfs-tools/conf.d")
    run("sudo tee /etc/initramfs-tools/conf.d/lab", stdin="MODULES=list\n")  # small, so quick
    packages = f"linux-image-{kernel} linux-headers-{kernel} initramfs-tools zstd grub-pc-bin"
    run(f"{APT} install {packages} grub2-common")
    run(f"sudo sh -c {quoted(GRUB_IN_A_CONTAINER)}", stdin=PROBE)


def install_driver(run: Run, nvidia: Repository, dist: str) -> None:
    run(f"{APT} install curl && {know(nvidia, dist)} && {NEWEST_DRIVER}")


def know(nvidia: Repository, dist: str) -> str:
    """Have apt know the repository."""
    keyring = f"{nvidia.url}/{dist}/x86_64/cuda-keyring_1.1-1_all.deb"
    return f"curl -sSfO {keyring} && sudo dpkg -i cuda-keyring*.deb"


def guard(rig: Rig, stand_in: str = A_REASON) -> None:
    """The driver's plan as tasks/driver.py leaves it on a box, and the guard."""
    wanted = {
        "branch": PLAN.driver_branch, "source": "nvidia", "flavour": PLAN.module_flavour,
        "modules": PLAN.modules, "module": PLAN.module, "dkms_name": PLAN.dkms_name,
        "packages": list(DRIVER), "headers": [],
    }  # fmt: skip
    base.have_program(source=program(stand_in))
    files.put(name="The plan", dest="/etc/deeprig/driver.json", content=json.dumps(wanted))
    boot_guard.watch(plan=PLAN)


@functools.cache
def program(stand_in: str) -> Path:
    """The box's program with a stand-in behind its proof."""
    folder = Path(tempfile.mkdtemp(prefix="deeprig-lab-")) / "box"
    atexit.register(shutil.rmtree, folder.parent)
    shutil.copytree(box_program.SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / PROOF).open("a") as proof:
        proof.write(stand_in)
    return folder


def boots(run: Run) -> str:
    """The kernel that GRUB would boot, by a reading of grub.cfg that is not the guard's own."""
    text = run("sudo cat /boot/grub/grub.cfg")
    default = [line for line in text.splitlines() if "set default=" in line][-1].split('"')[1]
    entry = default.rpartition(">")[2]
    begin = text.index(f"'{entry}' {{") if entry != "0" else text.index("menuentry ")
    return text[begin:].partition("/boot/vmlinuz-")[2].split()[0]


def state(run: Run) -> str:
    return run(f"sudo {boot_guard.GUARD} state").strip()


def boot_id(run: Run) -> str:
    return run("cat /proc/sys/kernel/random/boot_id").strip()


def motd(box: boxes.Box) -> str:
    """What a person sees who logs in."""
    ssh, environment = boxes.ssh_command(boxes.get(box.name))
    done = subprocess.run(
        [*ssh[:-1], "-tt", ssh[-1]], env=environment, input="exit\n", capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    return done.stdout


def choose_once(run: Run, kernel: str) -> None:
    """As a person does who wants this kernel for the next boot."""
    [entry] = {
        word.strip("'")
        for word in run("sudo cat /boot/grub/grub.cfg").split()
        if f"-{kernel}-advanced-" in word
    }
    [submenu] = {
        word.strip("'")
        for word in run("sudo grep ^submenu /boot/grub/grub.cfg").split()
        if "gnulinux-advanced-" in word
    }
    run(f"sudo grub-reboot '{submenu}>{entry}'")
