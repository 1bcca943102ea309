"""What the box's own apt says there is. The tables say what may be planned; an index can only take
away from that, so that a plan is the same before and after a source is configured.

A source's index counts where the box's apt knows at least one package that this source alone has:
where it knows none, the source is not configured, or was not read yet, and the tables stand alone.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from deeprig import branches, data
from deeprig.gpus import Graphics


def counts(graphics: Graphics, system: str, source: str) -> bool:
    """Whether this box's apt has read this source."""
    signs = _signs(system, source)
    return any(name.startswith(sign) for name in graphics.offers or () for sign in signs)


def has(graphics: Graphics, system: str, source: str, names: Iterable[str]) -> bool:
    """Whether the source has all these packages, as far as the box can tell."""
    if not counts(graphics, system, source):
        return True
    offers = graphics.offers or {}
    return all(offers.get(name) for name in names)


def has_version(graphics: Graphics, system: str, source: str, name: str, pattern: str) -> bool:
    """The same for one package in a version, such as libnccl2 and 2.*+cuda13.0."""
    if not counts(graphics, system, source):
        return True
    found: Mapping[str, tuple[str, ...]] = graphics.offers or {}
    return any(fnmatchcase(version, pattern) for version in found.get(name, ()))


def _signs(system: str, source: str) -> tuple[str, ...]:
    if source == "nvidia":
        return tuple(data.load("repositories")["signs"])
    row = branches.archive(system)
    return (row["sign"],) if row else ()
