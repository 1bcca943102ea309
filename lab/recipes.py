"""What the base system of each operating system is made of."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

DRESSINGS = Path(__file__).parent / "dressings"
KEYS = Path(__file__).parent / "keys"

# Not every Debian has a package with it. Its fingerprint, to be found all over the internet:
# F6EC B376 2474 EDA9 D21B  7022 8719 20D1 991B C93C
UBUNTUS_KEY = "ubuntu-archive-2018.asc"

# What an installer leaves on a server with only "SSH server" chosen, as far as a container has
# use for it: no kernel, no boot loader, no firmware. Locales are there, none is generated.
SERVER = (
    "apt-utils ca-certificates cron dbus dbus-user-session debconf fdisk iproute2 iputils-ping "
    "kmod less libpam-systemd locales logrotate nano netbase openssh-server procps python3 sudo "
    "systemd systemd-sysv tzdata udev whiptail"
)

# What a VM has besides: a kernel, a boot loader for any firmware, and a clock of its own.
BOOT = "grub-efi-amd64 grub-efi-amd64-signed initramfs-tools shim-signed systemd-timesyncd zstd"

# What Ubuntu's server image has on top, and what bites there.
CLOUD = "cloud-init needrestart netplan.io unattended-upgrades"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A base system: `mmdebstrap` makes it, then the dressings' scripts run, in this order.

    `signed_by` names a file in lab/keys, for an archive whose key this machine may not have.
    `kernel` is for VMs: a container's base system does not depend on it.
    """

    suite: str
    packages: str
    dressings: tuple[str, ...]
    components: str = "main"
    signed_by: str = ""
    kernel: str = field(default="linux-image-amd64", repr=False)

    @property
    def netplan(self) -> bool:
        """Whether netplan, not ifupdown, configures the network."""
        return "netplan.io" in self.packages.split()

    @property
    def key(self) -> str:
        """Short, and another one whenever anything that goes into the base system is another."""
        digest = hashlib.sha256(repr(self).encode())
        for dressing in self.dressings:
            for file in sorted(DRESSINGS.joinpath(dressing).rglob("*")):
                if file.is_file():
                    digest.update(f"{file.relative_to(DRESSINGS)}\n".encode() + file.read_bytes())
        return digest.hexdigest()[:12]


# Debian 13 keeps its sysctl defaults apart from systemd; without them only root can ping.
TRIXIE = f"{SERVER} linux-sysctl-defaults"


def _debian(suite: str, packages: str) -> Recipe:
    return Recipe(suite=suite, packages=f"{packages} ifupdown", dressings=("installed",))


def _ubuntu(suite: str, *more: str) -> Recipe:
    return Recipe(
        suite=suite,
        packages=" ".join([SERVER, CLOUD, *more]),
        dressings=("cloud", "installed"),
        components="main,restricted,universe,multiverse",
        signed_by=UBUNTUS_KEY,
        kernel="linux-image-generic",
    )


RECIPES = {
    "debian-13": _debian("trixie", TRIXIE),
    "debian-12": _debian("bookworm", SERVER),
    "ubuntu-like": Recipe(
        suite="trixie",
        packages=f"{TRIXIE} {CLOUD}",
        dressings=("cloud", "ubuntu-like", "installed"),
    ),
    "ubuntu-22.04": _ubuntu("jammy"),
    "ubuntu-24.04": _ubuntu("noble"),
    "ubuntu-26.04": _ubuntu("resolute", "sudo-rs"),
}


def recipe(os: str, kind: str = "container", packages: Iterable[str] = ()) -> Recipe:
    """What a base system is made of, with more packages if asked for: another system then."""
    base = RECIPES[os]
    names = [base.packages, *packages]
    if kind == "container":
        return replace(base, packages=" ".join(names))
    names += [BOOT, base.kernel]
    return replace(base, packages=" ".join(names), dressings=(*base.dressings, "vm"))
