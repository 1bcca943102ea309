"""The NVIDIA cards of a box: PCI id -> architecture and compute capability, from a table."""

import re
from dataclasses import dataclass
from pathlib import Path

from deeprig import data

SCRIPT = (Path(__file__).parent / "data/gpus.sh").read_text()
DISPLAY_CLASSES = ("0300", "0302")


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

    def __str__(self) -> str:
        return f"{self.name or 'unknown card'} ({self.id})"


@dataclass(frozen=True, kw_only=True)
class Graphics:
    """What a box brings for a driver: cards, kernels that could boot (oldest first; None where
    that is not known), Secure Boot, and the version of the driver that is loaded now, or "".
    """

    gpus: tuple[Gpu, ...] = ()
    kernels: tuple[str, ...] | None = None
    secure_boot: bool = False
    loaded_driver: str = ""


def read(found: dict[str, list[str]]) -> Graphics:
    """The graphics part of a survey: `key -> values` as SCRIPT printed them."""
    cards = [line.split() for line in found.get("gpu", []) if len(line.split()) == 3]
    return Graphics(
        gpus=tuple(
            identify(pci_id, address)
            for address, pci_id, pci_class in cards
            if pci_class[:4] in DISPLAY_CLASSES
        ),
        kernels=tuple(sorted(found.get("kernel", []), key=_numbers)),
        secure_boot="secure_boot" in found,
        loaded_driver=found.get("loaded_driver", [""])[0],
    )


def identify(pci_id: str, address: str = "") -> Gpu:
    """What the table knows of a card, by an id such as `10de:2204`."""
    ids = data.load("gpus")["ids"]
    vendor, _, device = pci_id.lower().partition(":")
    if vendor == "10de":
        for first, last, architecture, chips, capability in ids["ranges"]:
            if first <= device <= last and len(device) == 4:
                return Gpu(
                    id=pci_id,
                    address=address,
                    name=ids["names"].get(device, f"a card with {chips}"),
                    architecture=architecture,
                    compute_capability=capability,
                )
    return Gpu(id=pci_id, address=address)


def _numbers(release: str) -> tuple[list[int], str]:
    """A key that sorts 6.1.0-9 before 6.1.0-10."""
    return [int(number) for number in re.findall(r"\d+", release)], release
