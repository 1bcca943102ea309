"""What takes an emulated machine many minutes, done on its disk while it is off: apt, DKMS, GRUB.

The packages, their scripts and the hooks are the box's own; the kernel that runs is this machine's.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import box_disk, boxes, cgroups, shell

RELEASE_SECONDS = 20
# All of it is gone with its processes, which are in no namespace more: Debian's hook for GRUB does
# nothing in what looks like a container. The disk has the names that it has in
# the box, and its UUID as udev has it: GRUB makes no menu for a loop device.
ENTER = """
cd "$0" && mkdir dev root && mount -t tmpfs tmpfs dev && mkdir -p dev/disk/by-uuid dev/pts
for node in null zero full random urandom tty; do
    touch dev/$node && mount --bind /dev/$node dev/$node
done
touch dev/vda dev/vda2 && mount --bind "$1" dev/vda && mount --bind "$1"p2 dev/vda2
ln -s ../../vda2 "dev/disk/by-uuid/$(blkid -s UUID -o value "$1"p2)"
ln -s /proc/self/fd dev/fd
mount --bind /dev/pts dev/pts && ln -s pts/ptmx dev/ptmx
mount --rbind dev /dev && mount /dev/vda2 root && mount --rbind /dev root/dev
mount -t proc proc root/proc && mount --rbind /sys root/sys && mount -t tmpfs tmpfs root/run
[ ! -e root/etc/resolv.conf ] || mount --bind /etc/resolv.conf root/etc/resolv.conf
exec chroot root sh -ec "$2"
"""


def run(box: boxes.Box, script: str) -> str:
    """Cut the power, run the script as root on its disk, power on; what the script printed."""
    boxes.cut(box.name, off=True)
    with _system_disk(box) as disk, tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", ENTER, place, disk, script],
            preexec_fn=lambda: cgroups.enter(box.name, "offline"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800, check=False,
        )  # fmt: skip
        cgroups.kill(box.name, "offline")  # what a package started keeps the disk in use
    assert done.returncode == 0, done.stdout[-3000:]
    boxes.up(box.name)
    return done.stdout


@contextmanager
def _system_disk(box: boxes.Box) -> Iterator[str]:
    """Its system disk as a device of this machine, with its partitions."""
    system: Path = box_disk.files(box)[0]
    with box_disk.exported(system) as raw:
        device = shell.run("losetup", "--find", "--show", str(raw)).strip()
        try:
            shell.run("partx", "--update", device)  # not every kernel reads the table by itself
            yield device
        finally:
            _forget_partitions(device)
            shell.run("losetup", "--detach", device)


def _forget_partitions(device: str) -> None:
    """The kernel lets go of mounts a moment after the last process that saw them."""
    for _ in range(RELEASE_SECONDS):
        if subprocess.run(["partx", "--delete", device], capture_output=True).returncode == 0:
            return
        time.sleep(1)
    shell.run("partx", "--delete", device)
