"""A stand-in for NVIDIA's package repository: drivers, toolkits, cuDNN and NCCL for each system."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import network
from lab.stand_ins import catalogue, cuda, dkms, server
from lab.stand_ins.apt_archive import Archive, Trouble
from lab.stand_ins.catalogue import NVIDIAS_ARCHITECTURE, Row, covers
from lab.stand_ins.deb import File, Package

__all__ = ["Repository", "Trouble", "serve"]

PATH = "/compute/cuda/repos"
KEYRING = "/usr/share/keyrings/cuda-archive-keyring.gpg"
# Debian 13 has a key of its own, as in NVIDIA's; so may others in time.
KEYS = {"debian13": "Kitmaker stand-in (deeprig lab) <lab@deeprig.invalid>"}
KEY = "cudatools stand-in (deeprig lab) <lab@deeprig.invalid>"


@dataclass
class Repository:
    """What is offered now, and the ways to change it while boxes look."""

    site: server.Site
    archives: dict[str, Archive] = field(default_factory=dict)
    offered: dict[str, list[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What stands in place of NVIDIA's address, as `Driver(mirror=)` takes it."""
        return self.site.url + PATH

    def fingerprint(self, dist: str) -> str:
        """The whole fingerprint of the key that this directory gives out."""
        return self.archives[dist].key.fingerprint

    def offer(
        self, version: str, *, dists: Iterable[str] = (), fails_for: str = "", fails_from: str = ""
    ) -> None:
        """One driver more, from now on.

        Its modules do not build for kernels whose name is like `fails_for`, where "%" stands for
        anything, nor for kernels from version `fails_from` on, such as "6.13".
        """
        for dist in dists or self.archives:
            if version not in self.offered[dist]:
                self.offered[dist].append(version)
                self.archives[dist].add(driver(dist, version, fails_for, fails_from))
        self.publish()

    def withdraw(self, version: str) -> None:
        """The driver is not offered any more: archives drop old builds."""
        for dist, archive in self.archives.items():
            if version in self.offered[dist]:
                self.offered[dist].remove(version)
            archive.packages = [
                package
                for package in archive.packages
                if package.fields["Version"].rpartition("-")[0] != version
            ]
        self.publish()

    def put(self, trouble: Trouble) -> None:
        """Have this be wrong with every directory from now on; `Trouble.NONE` mends it."""
        for archive in self.archives.values():
            archive.trouble = trouble
        self.publish()

    def publish(self) -> None:
        """Serve what is offered now."""
        files: dict[str, bytes] = {}
        for dist, archive in self.archives.items():
            files |= archive.files() | self._keyring(dist, archive)
        self.site.files = files

    def _keyring(self, dist: str, archive: Archive) -> dict[str, bytes]:
        """The key as it is, armoured, and in a package with a source and a pin."""
        key, here = archive.key, self.site.url + archive.folder
        source = f"deb [signed-by={KEYRING}] {here}/ /\n"
        row: Row = {
            "name": "cuda-keyring",
            "version": "1.1-1",
            "architecture": "all",
            "files": {"/etc/apt/preferences.d/cuda-repository-pin-600": "cuda-pin-600"},
            "values": {
                "NSIGHT": "release l=*Debian*" if "debian" in dist else "origin *ubuntu.com*"
            },
        }
        made = catalogue.package(row, {})
        listed = f"/etc/apt/sources.list.d/cuda-{dist}-{NVIDIAS_ARCHITECTURE}.list"
        files = {**made.files, KEYRING: File(key.public), listed: File(source.encode())}
        package = Package(made.fields, files)
        return {
            f"{archive.folder}/{package.file_name}": package.content,
            f"{archive.folder}/cuda-archive-keyring.gpg": key.public,
            f"{archive.folder}/{key.fingerprint[-8:].lower()}.pub": key.armoured.encode(),
        }


@contextmanager
def serve(
    dists: Iterable[str] = ("ubuntu2404",),
    drivers: Sequence[str] | None = None,
    *,
    trouble: Trouble = Trouble.NONE,
    fails_for: str = "",
    fails_from: str = "",
    address: str = network.THIS_MACHINE,
    port: int = 0,
) -> Iterator[Repository]:
    """The repository, for as long as the block lasts; without `drivers` it has all it knows of."""
    with server.serving(address, port) as site:
        repository = Repository(site)
        for dist in dists:
            archive = repository.archives[dist] = _archive(dist, trouble)
            archive.add(cuda.packages(dist))
            archive.add([dkms.package(dist)])
            repository.offered[dist] = list(known(dist) if drivers is None else drivers)
            for version in repository.offered[dist]:
                archive.add(driver(dist, version, fails_for, fails_from))
        repository.publish()
        yield repository


def known(dist: str) -> list[str]:
    """The drivers that NVIDIA's own repository has for this system."""
    rows = catalogue.table("drivers")["driver"]
    return [row["version"] for row in rows if dist in row["in"]]


def driver(dist: str, version: str, fails_for: str = "", fails_from: str = "") -> list[Package]:
    """All packages of one driver."""
    table = catalogue.table("nvidia_debian" if "debian" in dist else "nvidia_ubuntu")
    values = driver_values(table, version) | {"FAILS_FOR": fails_for}
    values["FAILS_FROM"] = (
        ", ".join(f"{fails_from}.0.0".split(".")[:3]) if fails_from else catalogue.NEVER
    )
    branch = int(values["branch"])
    return [catalogue.package(row, values) for row in table["package"] if covers(row, branch)]


def driver_values(table: Row, version: str) -> dict[str, str]:
    """What goes into the names, versions and files of one driver's packages."""
    branch = version.partition(".")[0]
    scheme = next(row for row in table["scheme"] if covers(row, int(branch)))
    return catalogue.driver_values(scheme, version)


def _archive(dist: str, trouble: Trouble) -> Archive:
    about = {
        "Origin": "NVIDIA",
        "Label": "NVIDIA CUDA",
        "Architectures": catalogue.ARCHITECTURE,
        "Description": catalogue.REMARK.format(owner="NVIDIA's"),
    }
    folder = f"{PATH}/{dist}/{NVIDIAS_ARCHITECTURE}"
    return Archive(folder, about, KEYS.get(dist, KEY), trouble=trouble)
