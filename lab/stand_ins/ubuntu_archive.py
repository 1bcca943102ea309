"""A stand-in for the part of Ubuntu 24.04's archive that carries its kernels and drivers.

What is there at the start is in the suite noble; what comes later in noble-security, from where
unattended-upgrades takes it.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

from lab import network
from lab.stand_ins import catalogue, server
from lab.stand_ins.apt_archive import Archive, Trouble
from lab.stand_ins.catalogue import Row
from lab.stand_ins.deb import Package

__all__ = ["Repository", "Trouble", "serve"]

USER_ID = "Ubuntu archive stand-in (deeprig lab) <lab@deeprig.invalid>"
OWNER = "Ubuntu's or NVIDIA's"
FOLDER = "/ubuntu"
SUITES = ("noble", "noble-security")
KEYRING = "/usr/share/keyrings/ubuntu-archive-stand-in.gpg"
SOURCES = "/etc/apt/sources.list.d/ubuntu-archive-stand-in.sources"
UPDATES = "/etc/apt/apt.conf.d/51ubuntu-archive-stand-in"
FLAVOURS = {
    "-open": {"LICENSE": "Dual MIT/GPL", "flavour": "-open"},
    "": {"LICENSE": "NVIDIA", "flavour": ""},
}
# What a box needs to take packages from here; the last file is as Ubuntu's 50unattended-upgrades.
ON_A_BOX = """
set -e
echo {key} | base64 -d | sudo tee {keyring} > /dev/null
sudo tee {sources} > /dev/null <<'END'
Types: deb
URIs: {url}
Suites: {suites}
Components: restricted
Signed-By: {keyring}
END
sudo tee {updates} > /dev/null <<'END'
Unattended-Upgrade::Allowed-Origins {{ "Ubuntu:noble"; "Ubuntu:noble-security"; }};
END
"""


@dataclass
class Repository:
    """What is offered now, and the ways to change it while boxes look."""

    site: server.Site
    archives: dict[str, Archive]
    drivers: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.site.url + FOLDER

    @property
    def fingerprint(self) -> str:
        return self.archives["noble"].key.fingerprint

    @property
    def setup(self) -> str:
        """Shell commands that have a box take packages from here."""
        return ON_A_BOX.format(
            key=base64.b64encode(self.archives["noble"].key.public).decode(),
            keyring=KEYRING,
            sources=SOURCES,
            updates=UPDATES,
            url=self.url,
            suites=" ".join(SUITES),
        )

    def offer_driver(self, version: str, *, suite: str = "noble-security") -> None:
        """A driver more, with modules for every kernel; "580.178.04" follows on "580.173.02"."""
        self.drivers.append(version)
        self._add(suite)

    def offer_kernel(self, kernel: str, *, suite: str = "noble-security") -> None:
        """A kernel more, such as "6.8.0-145", with modules of every driver."""
        self.kernels.append(kernel)
        self._add(suite)

    def offer_kernel_without_modules(self, kernel: str) -> None:
        """A kernel more, which nobody has built the drivers' modules for yet."""
        self.archives["noble-security"].add(_of_kernel(kernel))
        self.publish()

    def offer_hello(self, version: str, *, suite: str = "noble-security") -> None:
        """A package with nothing to do with drivers, deeprig-lab-hello."""
        rows = catalogue.table("ubuntu_archive")["hello"]
        self.archives[suite].add(_made(row, {"build": version}) for row in rows)
        self.publish()

    def put(self, trouble: Trouble) -> None:
        """Have this be wrong with every suite from now on; `Trouble.NONE` mends it."""
        for archive in self.archives.values():
            archive.trouble = trouble
        self.publish()

    def publish(self) -> None:
        """Serve what is offered now."""
        files: dict[str, bytes] = {}
        for archive in self.archives.values():
            files |= archive.files()
        self.site.files = files

    def _add(self, suite: str) -> None:
        """List in the suite whatever no suite has yet."""
        listed = {package.file_name for a in self.archives.values() for package in a.packages}
        every = everything(self.drivers, self.kernels)
        self.archives[suite].add(package for package in every if package.file_name not in listed)
        self.publish()


@contextmanager
def serve(
    drivers: Sequence[str] | None = None,
    kernels: Sequence[str] | None = None,
    *,
    trouble: Trouble = Trouble.NONE,
    address: str = network.THIS_MACHINE,
    port: int = 0,
) -> Iterator[Repository]:
    """The archive, for as long as the block lasts; without `drivers` as data/ has it."""
    start = catalogue.table("ubuntu_archive")["start"]
    with server.serving(address, port) as site:
        archives = {suite: _archive(suite, trouble) for suite in SUITES}
        repository = Repository(site, archives)
        repository.drivers += start["drivers"] if drivers is None else drivers
        repository.kernels += start["kernels"] if kernels is None else kernels
        repository._add("noble")
        repository.offer_hello("1.0-1", suite="noble")
        yield repository


def everything(drivers: Sequence[str], kernels: Sequence[str]) -> Iterator[Package]:
    """The packages of these drivers and kernels, and of each pair of them."""
    table = catalogue.table("ubuntu_archive")
    for kernel in kernels:
        yield from _of_kernel(kernel)
    for (at, version), scheme in product(enumerate(drivers), table["scheme"]):
        values = catalogue.driver_values(scheme, version)
        yield from (_made(row, values) for row in table["package"])
        yield from (_made(row, values) for row in table["other_package"])
        for kernel, flavour in product(kernels, FLAVOURS.values()):
            own = values | kernel_values(kernel) | flavour | {"rebuild": str(at + 1)}
            yield from (_made(row, own) for row in table["module_package"])


def kernel_values(kernel: str) -> dict[str, str]:
    """What goes into a kernel's packages; "6.8.0-142" was uploaded as 6.8.0-142.142."""
    version, _, abi = kernel.partition("-")
    numbers = ", ".join(version.split("."))
    return {"kernel": kernel, "upload": f"{kernel}.{abi}", "KERNEL_NUMBERS": numbers}


def _of_kernel(kernel: str) -> list[Package]:
    rows = catalogue.table("ubuntu_archive")["kernel_package"]
    return [_made(row, kernel_values(kernel)) for row in rows]


def _made(row: Row, values: dict[str, str]) -> Package:
    return catalogue.package(row, values, owner=OWNER)


def _archive(suite: str, trouble: Trouble) -> Archive:
    about = {
        "Origin": "Ubuntu",
        "Label": "Ubuntu",
        "Suite": suite,
        "Version": "24.04",
        "Codename": "noble",
        "Architectures": catalogue.ARCHITECTURE,
        "Components": "restricted",
        "Description": catalogue.REMARK.format(owner=OWNER),
    }
    return Archive(FOLDER, about, USER_ID, trouble=trouble, suite=suite, component="restricted")
