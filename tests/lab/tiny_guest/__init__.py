"""A guest small enough for emulation in emulation: Debian's kernel, busybox, dropbear.

A stand-in for a cloud image: it takes its user and key from the seed, but there is no cloud-init.
"""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = (
    "base-files busybox-static coreutils cpio dash dosfstools dropbear-bin findutils grep "
    "grub-common grub-efi-amd64-bin kmod libc-bin mtools sed xz-utils"
)
KERNEL = "linux-image-cloud-amd64"
MIB = 1 << 20
EFI_MIB = 62
TABLE = f"label: gpt\nunit: sectors\nstart=2048, size={EFI_MIB * MIB // 512}, type=U, name=EFI\n"


def build(folder: Path) -> Path:
    """The image, a qcow2 file below `folder`: a minute."""
    root, disk = folder / "root", folder / "disk.raw"
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=extract",
        f"--include={PACKAGES.replace(' ', ',')},{KERNEL}", "trixie", str(root),
    )  # fmt: skip
    (root / "guest").mkdir()
    for name in ("init", "udhcpc.sh", "make.sh"):
        shutil.copy(HERE / name, root / "guest")
    _run("chroot", str(root), "/usr/bin/dash", "/guest/make.sh", str(EFI_MIB))
    with disk.open("wb") as file:
        file.seek(MIB)
        file.write((root / "out/efi.fat").read_bytes())
        file.truncate((EFI_MIB + 2) * MIB)
    _run("sfdisk", "--quiet", str(disk), stdin=TABLE)
    shutil.rmtree(root)
    image = folder / "tiny-guest.qcow2"
    _run("qemu-img", "convert", "-c", "-O", "qcow2", str(disk), str(image))
    disk.unlink()
    return image


def _run(*argv: str, stdin: str = "") -> None:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv[:2])}: {(done.stdout + done.stderr)[-2000:]}"
