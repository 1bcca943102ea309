"""What takes an emulated machine many minutes, done on its disk while it is off: apt, DKMS, GRUB.

The packages, their scripts and the hooks are the box's own; the kernel that runs is this machine's.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import box_disk, boxes, disk_image, shell

ENTER = """
mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys"
mount -t tmpfs tmpfs "$0/run"
[ ! -e "$0/etc/resolv.conf" ] || mount --bind /etc/resolv.conf "$0/etc/resolv.conf"
exec chroot "$0" sh -ec "$1"
"""


def run(box: boxes.Box, script: str) -> str:
    """Power off, run the script as root on its disk, power on; what the script printed."""
    boxes.cut(box.name, off=True)
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    with _mounted(box) as root:
        done = subprocess.run(
            [*own, "sh", "-ec", ENTER, str(root), script],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    boxes.up(box.name)
    return done.stdout


@contextmanager
def _mounted(box: boxes.Box) -> Iterator[Path]:
    """The root of its system disk."""
    system, *_ = box_disk.files(box)
    part = f"loop,offset={disk_image.ROOT_START},sizelimit={disk_image.ROOT_SIZE}"
    with box_disk.exported(system) as raw, tempfile.TemporaryDirectory() as place:
        shell.run("mount", "-o", part, str(raw), place)
        try:
            yield Path(place)
        finally:
            shell.run("umount", place)
