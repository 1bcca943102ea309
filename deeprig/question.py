"""What a plan is asked for: a system, its cards, what the box is, and the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deeprig import branches
from deeprig.gpus import Gpu, Graphics
from deeprig.settings import Cuda, Driver

Source = Literal["distro", "nvidia"]
SOURCES: tuple[Source, ...] = ("distro", "nvidia")


@dataclass(frozen=True, kw_only=True)
class Question:
    """`system` is such as debian-12; `cards` are those in the box and those to prepare for; `torch`
    is a version that somebody asks for, or None; `architecture` is Debian's name.
    """

    system: str
    cards: tuple[Gpu, ...]
    graphics: Graphics
    driver: Driver | None
    cuda: Cuda | None
    torch: str | None = None
    architecture: str = "amd64"

    @property
    def driver_source(self) -> Source:
        """The one of the settings, or else the one that is usual for the system."""
        usual: Source = "distro" if self.system.startswith("ubuntu-") else "nvidia"
        return (self.driver and self.driver.source) or usual

    @property
    def repository(self) -> dict[str, Any] | None:
        """NVIDIA's for this box, if there is one."""
        return branches.repository(self.system, self.architecture)

    def branches(self, source: str | None = None) -> list[str]:
        """Those that a source has for this box, or the one that is asked for."""
        return branches.at(self.system, source or self.driver_source, self.architecture)

    @property
    def known(self) -> tuple[Gpu, ...]:
        return tuple(card for card in self.cards if card.is_known)

    @property
    def unknown(self) -> tuple[Gpu, ...]:
        return tuple(card for card in self.cards if not card.is_known)

    @property
    def unusual(self) -> str:
        """ " on arm64"; nothing for the processor that most boxes have."""
        return "" if self.architecture == "amd64" else f" on {self.architecture}"


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
