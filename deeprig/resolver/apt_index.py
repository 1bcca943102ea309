"""What the box's own apt says there is. The tables say what may be planned; an index takes away
from that, so that a plan is the same before and after a source is configured. What an index has and
no table knows is said, and taken only where somebody asks for it.

A source's index counts where the box's apt knows at least one package that this source alone has:
where it knows none, the source is not configured, or was not read yet, and the tables stand alone.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from deeprig import catalog
from deeprig.catalog import branches
from deeprig.catalog.gpus import Gpu
from deeprig.facts.gpus import GpuFacts

BRANCH = re.compile(r"nvidia-(?:driver-pinning|headless-no-dkms|dkms)-([4-9]\d\d)(?:-.*)?")
TOOLKIT = re.compile(r"cuda-(?:toolkit|minimal-build)-([1-9]\d)-(\d)")
SERVER = re.compile(r"nvidia-(?:driver|headless|headless-no-dkms)-(\d+)-server(-open)?")


def is_loaded(graphics: GpuFacts, system: str, source: str) -> bool:
    """Whether this box's apt has read this source."""
    markers = _marker_packages(system, source)
    return any(name.startswith(each) for name in graphics.offers or () for each in markers)


def available(graphics: GpuFacts, system: str, source: str, names: Iterable[str]) -> bool:
    """Whether the source has all these packages, as far as the box can tell."""
    if not is_loaded(graphics, system, source):
        return True
    offers = graphics.offers or {}
    return all(offers.get(name) for name in names)


def has_version(graphics: GpuFacts, system: str, source: str, name: str, pattern: str) -> bool:
    """The same for one package in a version, such as libnccl2 and 2.*+cuda13.0."""
    if not is_loaded(graphics, system, source):
        return True
    offers: Mapping[str, tuple[str, ...]] = graphics.offers or {}
    return any(fnmatchcase(version, pattern) for version in offers.get(name, ()))


def new_branches(graphics: GpuFacts) -> list[str]:
    """Driver branches that apt has, and that no table knows: older ones than the first row's, which
    nobody sets up any more, are left out.
    """
    names = graphics.offers or {}
    offered = {match[1] for name in names if names[name] and (match := BRANCH.fullmatch(name))}
    known = branches.known()
    return sorted(name for name in offered - set(known) if int(name) > min(map(int, known)))


def new_toolkits(graphics: GpuFacts) -> list[str]:
    """CUDA toolkits that apt has and no table knows, but for those older than the first row's."""
    names = graphics.offers or {}
    offered = {f"{m[1]}.{m[2]}" for name in names if names[name] and (m := TOOLKIT.fullmatch(name))}
    known = [row["version"] for row in catalog.load("cuda")["toolkit"]]
    first = min(map(branches.number, known))
    return sorted(one for one in offered - set(known) if branches.number(one) > first)


def named_by_archive(graphics: GpuFacts, card: Gpu) -> set[tuple[str, str]]:
    """(branch, flavour) of the archive's packages whose Modaliases name the card."""
    lines = [line.split() for line in graphics.modaliases]
    names = [words[1] for words in lines if len(words) == 2 and words[0] == card.id]
    matches = [SERVER.fullmatch(name) for name in names]
    return {(m[1], "open" if m[2] else "proprietary") for m in matches if m}


def _marker_packages(system: str, source: str) -> tuple[str, ...]:
    if source == "nvidia":
        return tuple(catalog.load("repositories")["signs"])
    row = branches.archive(system)
    return (row["sign"],) if row else ()
