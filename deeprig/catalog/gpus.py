"""What a card is, by the id that it has on the bus: 10de:2204 -> an RTX 3090 of Ampere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deeprig import catalog


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A card, such as `10de:2204`. `address` is empty for one that is not in the box yet;
    `architecture` is empty for one that the table does not know.
    """

    id: str
    address: str = ""
    name: str = ""
    architecture: str = ""
    compute_capability: str = ""

    @property
    def is_known(self) -> bool:
        """Whether a table says what it can run."""
        return bool(self.architecture)

    def __str__(self) -> str:
        return f"{self.name or 'unknown card'} ({self.id})"


def hidden_switches(cards: Iterable[Gpu]) -> dict[str, Any] | None:
    """The table's row of the board that these cards are, whose NVSwitches are not on the bus, with
    what it `means` and `needs`. None where it is no such board.
    """
    ids = [card.id.removeprefix("10de:") for card in cards]
    for row in catalog.load("gpus")["board"]:
        if sum(device in row["ids"] for device in ids) >= row["least"]:
            return dict(row)
    return None


def is_one_of(card: Gpu, ids: Iterable[str]) -> bool:
    """Whether a card has one of these device ids."""
    return card.id.removeprefix("10de:") in ids


def product(card: Gpu) -> dict[str, str] | None:
    """What a GPU is that is on no board of its own, such as a Jetson's; None for all others."""
    return _row_of(card, "product")


def whole_system(card: Gpu) -> dict[str, str] | None:
    """What a GPU belongs to that comes with NVIDIA's own system and driver; None for others."""
    return _row_of(card, "system")


def _row_of(card: Gpu, table: str) -> dict[str, str] | None:
    device = card.id.removeprefix("10de:")
    rows = catalog.load("gpus")[table]
    return next((row for row in rows if row["ids"][0] <= device <= row["ids"][1]), None)


def identify(pci_id: str, address: str = "") -> Gpu:
    """What the table knows of a card, by an id such as `10de:2204`."""
    ids = catalog.load("gpus")["ids"]
    vendor, _, device = pci_id.lower().partition(":")
    if vendor == "10de":
        for first, last, architecture, chips, capability in ids["ranges"]:
            if first <= device <= last and len(device) == 4:
                return Gpu(
                    id=pci_id,
                    address=address,
                    name=ids["names"].get(device) or _name_by_the_driver(device, chips),
                    architecture=architecture,
                    compute_capability=capability,
                )
    return Gpu(id=pci_id, address=address)


def _name_by_the_driver(device: str, chips: str) -> str:
    names: list[str] = catalog.load("gpu_names")["names"].get(device, [f"a card with {chips}"])
    return names[0]
