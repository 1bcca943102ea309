"""What a plan is asked for: a system, its cards, what the box is, and the settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from deeprig import catalog
from deeprig.catalog import branches
from deeprig.catalog.gpus import Gpu, is_one_of
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver import apt_index
from deeprig.settings import Cuda, Driver

Source = Literal["distro", "nvidia"]
SOURCES: tuple[Source, ...] = ("distro", "nvidia")


@dataclass(frozen=True, kw_only=True)
class Request:
    """`system` is such as debian-12; `cards` are those in the box and those to prepare for; `torch`
    is a version that somebody asks for, or None; `python` that of the environments, "" where nobody
    says; `architecture` is Debian's name; `today` is the day whose branches are taken.
    """

    system: str
    cards: tuple[Gpu, ...]
    graphics: GpuFacts
    driver: Driver | None
    cuda: Cuda | None
    torch: str | None = None
    architecture: str = "amd64"
    python: str = ""
    today: date = field(default_factory=date.today)

    @property
    def switches(self) -> bool:
        """Whether the box has NVSwitches, which want the fabric manager."""
        return self.graphics.nvswitch or self.subnet_manager

    @property
    def subnet_manager(self) -> bool:
        """Whether its NVSwitches are those of an HGX board with NVLink 5, which want nvlsm too."""
        boards = catalog.load("gpus")["nvswitch"]["boards"]
        return any(is_one_of(card, boards) for card in self.cards)

    @property
    def driver_source(self) -> Source:
        """The one of the settings, or else the one that is usual for the system and its cards."""
        ubuntu = self.system.startswith("ubuntu-") and not self.subnet_manager
        usual: Source = "distro" if ubuntu else "nvidia"
        return (self.driver and self.driver.source) or usual

    @property
    def repository(self) -> dict[str, Any] | None:
        """NVIDIA's for this box, if there is one."""
        return branches.repository(self.system, self.architecture)

    def branches(self, source: str | None = None) -> list[str]:
        """Those that a source has for this box, best first on this day; before all others the
        one that stands: a new day moves no driver, nor what is planned beside it.
        """
        where = source or self.driver_source
        names = branches.on(self.today, branches.at(self.system, where, self.architecture))
        names.sort(key=lambda name: name != self.graphics.standing_driver)
        return [*names, *self._new_branch(where)]

    def _new_branch(self, source: str) -> list[str]:
        """The branch that is asked for and that no table knows, where the archive's own packages
        of it name every card.
        """
        branch = self.driver and self.driver.branch
        if not branch or source != "distro" or branch not in apt_index.new_branches(self.graphics):
            return []
        named_for = [apt_index.named_by_archive(self.graphics, card) for card in self.cards]
        return [branch] if all(branch in dict(named) for named in named_for) else []

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


def system_title(system: str) -> str:
    """Debian 12 for debian-12."""
    return system.replace("-", " ").title()


def source_title(system: str, source: str) -> str:
    """Where packages come from, in words."""
    if source == "nvidia":
        return f"NVIDIA's repository for {system_title(system)}"
    return f"{system_title(system)}'s archive"


def join_cards(cards: Sequence[Gpu]) -> str:
    """The cards in words, each kind once."""
    return " and ".join(dict.fromkeys(str(card) for card in cards))
