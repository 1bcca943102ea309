"""A base system as a disk: UEFI, GRUB and the system's own kernel, from its own packages."""

import subprocess
import uuid
from pathlib import Path

from lab import shell
from lab.errors import fail

DISK = "disk.qcow2"
KERNEL, INITRAMFS = "vmlinuz", "initrd.img"
# What a box's own files are compared with when they are written: its folders and its shadow file.
ETC = "etc"

MIB = 1 << 20
SIZE = 10 << 30
EFI_START, EFI_SIZE = MIB, 128 * MIB
ROOT_START = EFI_START + EFI_SIZE
ROOT_SIZE = SIZE - ROOT_START - MIB  # the last part is the second copy of the partition table's
TABLE = f"""\
label: gpt
unit: sectors
start={EFI_START // 512}, size={EFI_SIZE // 512}, type=U, name=EFI
start={ROOT_START // 512}, size={ROOT_SIZE // 512}, type=L, name=root
"""
FSTAB = """\
UUID={root} / ext4 errors=remount-ro 0 1
UUID={efi} /boot/efi vfat umask=0077,x-systemd.device-timeout=10min 0 1
"""
# Not every GRUB and kernel among the boxes reads what the newest mke2fs makes.
EXT4 = "^metadata_csum_seed,^orphan_file"
SECONDS_TO_SEAL = 900


def build(root: Path, image: Path) -> None:
    """Make of the tree below `root` the files of a base image in the folder `image`."""
    disk = image / "disk.raw"
    _copy_boot_files(root, image)
    root_id, efi_id = str(uuid.uuid4()), uuid.uuid4().hex[:8].upper()
    fstab = FSTAB.format(root=root_id, efi=f"{efi_id[:4]}-{efi_id[4:]}")
    (root / "etc/fstab").write_text(fstab)
    for folder in ("etc", "var"):  # the packages did what systemd would do at the first boot
        (root / folder / ".updated").touch()
    (image / ETC).mkdir()
    shell.run("cp", "--archive", f"{root}/etc/.", str(image / ETC))
    with disk.open("wb") as file:
        file.truncate(SIZE)
    shell.run("sfdisk", "--quiet", str(disk), stdin=TABLE)
    # One sector for a cluster: fewer clusters than 65525 would be no FAT32 to the firmware.
    form = ("-F", "32", "-s", "1", "-i", efi_id, "-n", "EFI")
    shell.run("mkfs.vfat", *form, f"--offset={EFI_START // 512}", str(disk), str(EFI_SIZE // 1024))
    make_ext4(disk, root_id, ROOT_SIZE, "-E", f"offset={ROOT_START}", "-d", str(root))
    _seal(image, disk)
    shell.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(image / DISK))
    disk.unlink()


def make_ext4(disk: Path, identity: str, size: int, *more: str) -> None:
    """A file system of `size` bytes in a file, which may have other things before it."""
    command = ("mke2fs", "-q", "-F", "-t", "ext4", "-O", EXT4, "-U", identity, *more)
    shell.run(*command, str(disk), f"{size // 1024}k")


def _copy_boot_files(root: Path, image: Path) -> None:
    """The kernel and its initramfs, to boot once without a boot loader and to probe KVM."""
    for name, pattern in ((KERNEL, "vmlinuz-*"), (INITRAMFS, "initrd.img-*")):
        kernels = sorted((root / "boot").glob(pattern))
        if len(kernels) != 1:
            fail(f"{root}/boot has {len(kernels)} files {pattern}; a base image has one kernel.")
        shell.run("cp", str(kernels[0]), str(image / name))


def _seal(image: Path, disk: Path) -> None:
    """Boot the disk once, on its own kernel, whose first process installs the boot loader."""
    from lab import qemu

    command = qemu.direct_boot(
        image / KERNEL,
        image / INITRAMFS,
        append="root=PARTLABEL=root ro console=ttyS0 panic=-1 init=/seal",
        drive=disk,
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_SEAL
        )
    except subprocess.TimeoutExpired:
        fail(f"the base image's first boot did not end within {SECONDS_TO_SEAL} s.")
    if "SEALED" not in done.stdout:
        last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        fail(f"the base image got no boot loader; its console ends with {last[-5:]}.")
