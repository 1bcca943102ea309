"""A driver that somebody else installed.

Reads only.
"""

import re
from typing import NamedTuple

from deeprig_box.driver.simulate import DRIVER_VERSION
from deeprig_box.nvidia import driver, held_updates, libraries

NVIDIAS = "/compute/cuda/repos/"


class Other(NamedTuple):
    """A driver that somebody else installed; `packages` are all of it, as apt takes their names."""

    name: str
    version: str
    branch: str
    source: str
    packages: list[str]


def by_others() -> Other | None:
    """The driver that is there without our doing, by who owns the libraries that each has."""
    every = installed()
    own = f":{native()}"
    owned = [name.removesuffix(own) for name in libraries.owners().values() if name]
    library = re.compile(r"^(libcuda1|libnvidia-compute(-\d+)?(-server)?)(:\w+)?$")
    for name in [*owned, *filter(library.match, every)]:
        its = driver.upstream(every.get(name, ""))
        if DRIVER_VERSION.match(its):
            policy = driver.said("apt-cache", "policy", name)
            parts = [part for part, version in every.items() if goes_with(part, version, its)]
            return Other(name, its, its.partition(".")[0], origin(policy), parts)
    return None


def goes_with(name: str, version: str, release: str) -> bool:
    plain = name.partition(":")[0]
    if plain.startswith(driver.PREBUILT):
        return True
    return driver.upstream(version) == release and driver.is_of_a_driver(plain)


def native() -> str:
    return driver.said("dpkg", "--print-architecture")


def installed() -> dict[str, str]:
    """Name -> version; a package of another architecture than the box's has it in its name."""
    form = "${db:Status-Status} ${Package} ${Architecture} ${Version}\\n"
    lines = driver.said("dpkg-query", "-W", "-f", form).splitlines()
    rows = [line.split() for line in lines if line.startswith("installed ")]
    own = (native(), "all")
    return {name if its in own else f"{name}:{its}": version for _, name, its, version in rows}


def origin(policy: str) -> str:
    """nvidia, distro, or "" where no index has the installed version any more."""
    table = re.search(r"^ \*\*\* .*\n((?: {8}.*\n?)*)", policy, re.MULTILINE)
    places = [line.split()[1] for line in table[1].splitlines()] if table else []
    urls = [place for place in places if "://" in place or place.startswith("file:")]
    if not urls:
        return ""
    return (
        "nvidia"
        if any(NVIDIAS in url or held_updates.is_nvidias(url) for url in urls)
        else "distro"
    )
