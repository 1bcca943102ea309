"""Which driver and which kernel modules a set of cards can run, or why none."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deeprig import data
from deeprig.gpus import Gpu, Graphics

NOT_YET = "from which deeprig does not install yet"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why not, in a sentence, and the nearest thing that would work."""

    refusal: str
    instead: str

    @property
    def sentence(self) -> str:
        return f"{self.refusal} Instead: {self.instead}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """`name` is open or proprietary."""

    name: str
    why: str


def flavour(
    row: dict[str, Any], cards: Sequence[Gpu], graphics: Graphics, asked: str | None
) -> Flavour | Refusal:
    """The kernel modules for all these cards from `row`, a driver that an archive has."""
    refusal = (
        _unknown(cards)
        or _together(cards)
        or _within(row, cards)
        or _asked(cards, asked)
        or _box(graphics)
    )
    if refusal:
        return refusal
    able = {name for name in ("open", "proprietary") if all(name in _able(card) for card in cards)}
    there = [name for name in ("open", "proprietary") if name in able and name in row["flavours"]]
    if (asked and asked not in there) or not there:
        missing = asked or " or ".join(sorted(able))
        return Refusal(
            refusal=f"{called(row['system'])} has no {missing} modules that go with its driver "
            f"{row['seen']}.",
            instead=f'Driver(flavour="{there[0]}").'
            if there
            else f"a driver from NVIDIA's own repository, {NOT_YET}.",
        )
    if asked:
        return Flavour(name=asked, why="Driver.flavour asks for it, and every card runs it")
    if there[0] == "open":
        return Flavour(
            name="open", why="every card is a Turing or newer: the kind NVIDIA goes on with"
        )
    because = (
        "the archive has no open ones for this driver"
        if "open" in able
        else (f"{named([c for c in cards if 'open' not in _able(c)])} cannot run the open ones")
    )
    return Flavour(name="proprietary", why=because)


def _unknown(cards: Sequence[Gpu]) -> Refusal | None:
    unknown = [card for card in cards if not card.architecture]
    if not unknown:
        return None
    ids = " and ".join(card.id for card in unknown)
    return Refusal(
        refusal=f"{ids} is in no table that deeprig has, so which driver it needs is not known.",
        instead="Rig(driver=None) and a driver that you choose; please report the id.",
    )


def _within(row: dict[str, Any], cards: Sequence[Gpu]) -> Refusal | None:
    branch, system = int(row["branch"]), called(row["system"])
    for card in cards:
        first, last = limits(card)["first_driver"], limits(card)["last_driver"]
        if last and branch > int(last):
            return Refusal(
                refusal=f"{card} ends with driver {last}, and {system} has {branch}.",
                instead="Rig(driver=None): no supported system has a driver for it.",
            )
        if first and branch < int(first):
            return Refusal(
                refusal=f"{card} needs driver {first} or newer, and {system} has {branch}.",
                instead=f"a driver from NVIDIA's own repository, {NOT_YET}; or Rig(driver=None) "
                "and a driver that you install.",
            )
    return None


def _together(cards: Sequence[Gpu]) -> Refusal | None:
    old = [card for card in cards if "open" not in _able(card)]
    new = [card for card in cards if "proprietary" not in _able(card)]
    if not (old and new):
        return None
    return Refusal(
        refusal=f"{named(old)} runs with the proprietary modules only and {named(new)} with the "
        "open ones, and a box loads one of them.",
        instead="take one of them out of the box.",
    )


def _asked(cards: Sequence[Gpu], asked: str | None) -> Refusal | None:
    unable = [card for card in cards if asked and asked not in _able(card)]
    if not unable:
        return None
    return Refusal(
        refusal=f"Driver.flavour is {asked!r}, which {named(unable)} cannot run.",
        instead="leave Driver.flavour out: the cards decide.",
    )


def _box(graphics: Graphics) -> Refusal | None:
    if graphics.secure_boot:
        return Refusal(
            refusal="Secure Boot is on, and modules built on the box carry no signature that its "
            "firmware knows: they would not load.",
            instead="turn Secure Boot off in the firmware's setup; a key of your own, enrolled at "
            "the console, is not there yet.",
        )
    if graphics.kernels == ():
        return Refusal(
            refusal="No kernel is installed in it, so there is nothing to build modules for.",
            instead="install one, such as linux-image-amd64, or Rig(driver=None): a container has "
            "its host's driver.",
        )
    return None


def headers(kernels: Sequence[str]) -> tuple[str, ...]:
    """The packages that bring the headers of these kernels' flavours, now and after an update."""
    # 6.1.0-56-amd64, 6.12.117+deb13-cloud-amd64, 6.12.38+deb12-rt-amd64
    flavours = [re.sub(r"^[\d.]+(?:\+[\w.~]+)?(?:-\d+)?-", "", kernel) for kernel in kernels]
    return tuple(f"linux-headers-{name}" for name in dict.fromkeys(flavours))


def limits(card: Gpu) -> dict[str, Any]:
    """What the table says of the card's architecture; empty for an unknown one."""
    rows: list[dict[str, Any]] = data.load("gpus")["architecture"]
    return next((row for row in rows if row["name"] == card.architecture), {})


def called(system: str) -> str:
    """Debian 12 for debian-12."""
    return system.replace("-", " ").title()


def named(cards: Sequence[Gpu]) -> str:
    return " and ".join(dict.fromkeys(str(card) for card in cards))


def _able(card: Gpu) -> list[str]:
    able: list[str] = limits(card).get("flavours", [])
    return able
