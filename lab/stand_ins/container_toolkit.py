"""A stand-in for the repository of NVIDIA's container toolkit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab import network
from lab.stand_ins import catalogue, server
from lab.stand_ins.apt_archive import Archive, Trouble
from lab.stand_ins.deb import Package

__all__ = ["Repository", "Trouble", "serve"]

PATH = "/libnvidia-container"
KEY = "NVIDIA open source stand-in (deeprig lab) <lab@deeprig.invalid>"


@dataclass
class Repository:
    """What is offered now, and the ways to change it while boxes look."""

    site: server.Site
    archive: Archive

    @property
    def url(self) -> str:
        """What stands in place of NVIDIA's address, as `Containers(mirror=)` takes it."""
        return self.site.url + PATH

    @property
    def fingerprint(self) -> str:
        """The whole fingerprint of the key that it gives out."""
        return self.archive.key.fingerprint

    def offer(self, version: str) -> None:
        """One version more, from now on."""
        self.archive.add(packages(version))
        self.publish()

    def put(self, trouble: Trouble) -> None:
        """Have this be wrong with it from now on; `Trouble.NONE` mends it."""
        self.archive.trouble = trouble
        self.publish()

    def publish(self) -> None:
        """Serve what is offered now."""
        key = {f"{PATH}/gpgkey": self.archive.key.armoured.encode()}
        self.site.files = self.archive.files() | key


@contextmanager
def serve(
    versions: Sequence[str] | None = None,
    *,
    trouble: Trouble = Trouble.NONE,
    address: str = network.THIS_MACHINE,
    port: int = 0,
) -> Iterator[Repository]:
    """The repository, for as long as the block lasts; without `versions` it has all it knows of."""
    table = catalogue.table("container_toolkit")
    about = {
        **table["about"],
        "Architectures": catalogue.ARCHITECTURE,
        "Description": catalogue.REMARK.format(owner="NVIDIA's"),
    }
    folder = f"{PATH}/stable/deb/{catalogue.ARCHITECTURE}"
    with server.serving(address, port) as site:
        repository = Repository(site, Archive(folder, about, KEY, trouble=trouble))
        for version in table["versions"] if versions is None else versions:
            repository.offer(version)
        repository.publish()
        yield repository


def packages(version: str) -> list[Package]:
    """The packages of one version, such as "1.20.1-1"."""
    rows = catalogue.table("container_toolkit")["package"]
    values = {"build": version, "version": version.partition("-")[0]}
    return [catalogue.package(row, values) for row in rows]
