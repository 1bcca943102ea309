"""What a plan is asked for: a system, its cards, what the box is, and the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deeprig.gpus import Gpu, Graphics
from deeprig.settings import Cuda, Driver

Source = Literal["distro", "nvidia"]
SOURCES: tuple[Source, ...] = ("distro", "nvidia")


@dataclass(frozen=True, kw_only=True)
class Question:
    """`system` is such as debian-12; `cards` are those in the box and those to prepare for; `torch`
    is a version that somebody asks for, or None.
    """

    system: str
    cards: tuple[Gpu, ...]
    graphics: Graphics
    driver: Driver | None
    cuda: Cuda | None
    torch: str | None = None

    @property
    def driver_source(self) -> Source:
        """The one of the settings, or else the one that is usual for the system."""
        usual: Source = "distro" if self.system.startswith("ubuntu-") else "nvidia"
        return (self.driver and self.driver.source) or usual

    @property
    def known(self) -> tuple[Gpu, ...]:
        return tuple(card for card in self.cards if card.is_known)

    @property
    def unknown(self) -> tuple[Gpu, ...]:
        return tuple(card for card in self.cards if not card.is_known)


def called(system: str) -> str:
    """Debian 12 for debian-12."""
    return system.replace("-", " ").title()


def place(system: str, source: str) -> str:
    """Where packages come from, in words."""
    if source == "nvidia":
        return f"NVIDIA's repository for {called(system)}"
    return f"{called(system)}'s archive"


def named(cards: Sequence[Gpu]) -> str:
    """The cards in words, each kind once."""
    return " and ".join(dict.fromkeys(str(card) for card in cards))


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return ", ".join(words[:-1]) + (" and " if words[1:] else "") + "".join(words[-1:])
