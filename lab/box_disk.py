"""The disks of one VM: a layer of its own over the base image, with its own files in it."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import disk_image, shell
from lab.box import Box
from lab.errors import fail
from lab.hardware import in_bytes

SYSTEM, DATA = "system.qcow2", "data-disk.raw"
DATA_SIZE = 4 << 30
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "deeprig.lab")


def files(box: Box) -> tuple[Path, ...]:
    """Its disks in their order: the system's, the data disk, those asked for."""
    more = [f"disk-{number}.raw" for number, _ in enumerate(box.hardware.disks, 1)]
    return tuple(box.folder / name for name in (SYSTEM, DATA, *more))


def install(box: Box, image: Path) -> None:
    """A fresh system disk over `image`, with the box's own files; the other disks stay."""
    system, _, *more = files(box)
    data_disk(box)
    for disk, size in zip(more, box.hardware.disks, strict=True):
        if not disk.exists():
            blank(disk, in_bytes(size))
    fresh_system(system, image, box.upper)


def fresh_system(system: Path, image: Path, files: Path) -> None:
    """An empty layer over the image, with what is below `files` written into it."""
    system.unlink(missing_ok=True)
    backing = ("-b", str(image / disk_image.DISK), "-F", "qcow2")
    shell.run("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(system))
    write(system, image, files)


def data_disk(box: Box) -> str:
    """The UUID of the file system on the box's data disk; made if it is not there."""
    file, identity = box.folder / DATA, str(uuid.uuid5(NAMESPACE, box.name))
    if not file.exists():
        blank(file, DATA_SIZE)
        disk_image.make_ext4(file, identity, DATA_SIZE, "-L", "data")
    return identity


def blank(file: Path, size: int) -> None:
    """A new disk, with nothing on it."""
    with file.open("wb") as disk:
        disk.truncate(size)


def write(system: Path, image: Path, files: Path) -> None:
    """Put what is below `files` on the disk, with owner and mode; the box must be off."""
    lines = []
    for file in sorted(path for path in files.rglob("*") if path.is_file()):
        place, status = f"/{file.relative_to(files)}", file.stat()
        if (image / file.relative_to(files)).is_symlink() or (
            image / file.relative_to(files)
        ).exists():
            lines.append(f"rm {place}")
        lines += [
            f"write {file} {place}",
            f"sif {place} mode 0{status.st_mode:o}",
            f"sif {place} uid {status.st_uid}",
            f"sif {place} gid {status.st_gid}",
        ]
    with exported(system) as raw:
        root = f"{raw}?offset={disk_image.ROOT_START}"
        command = ["debugfs", "-w", "-f", "-", root]
        done = subprocess.run(
            command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
        )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("debugfs 1.")]
    if done.returncode or complaints:
        fail(f"{system} could not be written: {(complaints or ['debugfs failed'])[0]}")


@contextmanager
def exported(system: Path) -> Iterator[Path]:
    """The disk as one plain file, by way of FUSE, while the block lasts."""
    mount = system.with_suffix(".raw")
    mount.touch()
    command = [
        "qemu-storage-daemon",
        *("--blockdev", f"driver=file,node-name=file,filename={system}"),
        *("--blockdev", "driver=qcow2,node-name=disk,file=file"),
        *("--export", f"type=fuse,id=out,node-name=disk,mountpoint={mount},writable=on"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as daemon:
        try:
            _wait_for_export(mount, daemon)
            yield mount
        finally:
            daemon.terminate()
            daemon.wait()
            mount.unlink()


def _wait_for_export(mount: Path, daemon: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + 20
    while mount.stat().st_size == 0:
        if daemon.poll() is not None or time.monotonic() > limit:
            complaint = b"nothing"
            if daemon.stderr and daemon.poll() is not None:
                complaint = daemon.stderr.read().strip()
            fail(
                f"qemu-storage-daemon cannot show {mount}: it says {complaint.decode()!r}; "
                "it needs FUSE: look for /dev/fuse."
            )
        time.sleep(0.02)
