"""What the lab needs on this machine, and the way to get it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import fail


@dataclass(frozen=True)
class Package:
    """A package, why the lab wants it, and what is there once it is installed."""

    name: str
    why: str
    proof: str

    @property
    def installed(self) -> bool:
        return Path(self.proof).exists() if "/" in self.proof else bool(shutil.which(self.proof))


PACKAGES = (
    Package("mmdebstrap", "builds the boxes' base systems", "mmdebstrap"),
    Package(
        "debian-archive-keyring",
        "proves that what it fetches is Debian's",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    ),
    Package("systemd-container", "runs them", "systemd-nspawn"),
    Package("iproute2", "makes their network", "ip"),
    Package("nftables", "makes their network", "nft"),
    Package("slirp4netns", "gives them internet without a change to this machine's", "slirp4netns"),
    Package("openssh-client", "makes their keys and logs in", "ssh-keygen"),
    Package("openssl", "hashes their passwords", "openssl"),
)

VM_PACKAGES = (
    Package("qemu-system-x86", "runs VMs", "qemu-system-x86_64"),
    Package("qemu-utils", "makes their disks", "qemu-storage-daemon"),
    Package("ovmf", "is their firmware", "/usr/share/OVMF"),
    Package("fdisk", "makes their disks", "sfdisk"),
    Package("e2fsprogs", "makes their disks", "debugfs"),
    Package("dosfstools", "makes their disks", "mkfs.vfat"),
)


def of(kind: str) -> tuple[Package, ...]:
    """What boxes of this kind need."""
    return (*PACKAGES, *VM_PACKAGES) if kind == "vm" else PACKAGES


def missing(packages: Iterable[Package] = PACKAGES) -> list[Package]:
    """What is not here yet."""
    return [package for package in packages if not package.installed]


def install(say: Callable[[str], None], packages: Iterable[Package] = PACKAGES) -> None:
    """Install with apt what is missing, after saying what and why; nothing if nothing is.

    Raises DeeprigError with the command to give, where this is no Debian or apt fails.
    """
    lacking = missing(packages)
    if not lacking:
        return
    names = [package.name for package in lacking]
    if not shutil.which("apt-get"):
        fail(f"the lab needs {', '.join(names)}; {_by_hand(names)}.")
    for package in lacking:
        say(f"installing {package.name}: it {package.why}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        apt = subprocess.run(
            ["apt-get", "-qq", *step], env=quiet, capture_output=True, text=True, check=False
        )
        if apt.returncode:
            complaint = (apt.stderr.strip() or "it said nothing").splitlines()[-1]
            fail(
                f"apt-get {step[0]} says {complaint!r}; mend that, or install by hand: "
                f"`sudo apt-get install {' '.join(names)}`."
            )


def _by_hand(names: list[str]) -> str:
    """What to type on a machine that has no apt."""
    for tool, command in {"dnf": "dnf install", "zypper": "zypper install"}.items():
        if shutil.which(tool):
            return f"install them with `sudo {command} {' '.join(names)}`"
    return "install them with this machine's package manager"
