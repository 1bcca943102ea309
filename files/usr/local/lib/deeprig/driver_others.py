"""A driver that somebody else installed.

Written by deeprig (files/usr/local/lib/deeprig/driver_others.py): change it there. Reads only.
"""

import re
from typing import NamedTuple

import driver_proof
import driver_waiting
from driver_apt import DRIVER_VERSION

NVIDIAS = "/compute/cuda/repos/"


class Other(NamedTuple):
    """A driver that somebody else installed."""

    name: str
    version: str
    branch: str
    source: str


def by_others() -> Other | None:
    """The driver that is there without our doing, by the library that every driver has."""
    library = re.compile(r"^(libcuda1|libnvidia-compute(-\d+)?(-server)?)$")
    for name, version in driver_proof.installed().items():
        its = driver_proof.upstream(version)
        if library.match(name) and DRIVER_VERSION.match(its):
            policy = driver_proof.said("apt-cache", "policy", name)
            return Other(name, its, its.partition(".")[0], origin(policy))
    return None


def origin(policy: str) -> str:
    """nvidia, distro, or "" where no index has the installed version any more."""
    found = re.search(r"^ \*\*\* .*\n((?: {8}.*\n?)*)", policy, re.MULTILINE)
    places = [line.split()[1] for line in found[1].splitlines()] if found else []
    urls = [place for place in places if "://" in place or place.startswith("file:")]
    if not urls:
        return ""
    return (
        "nvidia"
        if any(NVIDIAS in url or driver_waiting.is_nvidias(url) for url in urls)
        else "distro"
    )
