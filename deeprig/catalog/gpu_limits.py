"""What a card can run: kernel modules, driver branches and CUDA toolkits."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from deeprig import catalog
from deeprig.catalog.branches import number
from deeprig.catalog.gpus import Gpu


@dataclass(frozen=True, kw_only=True)
class Limits:
    """First and last are included; "" for no limit. `unlisted` are branches between them whose list
    lacks the card.
    """

    flavours: tuple[str, ...] = ()
    first_driver: str = ""
    last_driver: str = ""
    first_cuda: str = ""
    last_cuda: str = ""
    unlisted: tuple[str, ...] = ()

    def drives(self, branch: str) -> bool:
        return not self.driver_border(branch)

    def driver_border(self, branch: str) -> str:
        """Why a branch does not drive the card, as the end of a sentence; "" where it does."""
        first, last = self.first_driver, self.last_driver
        if branch in self.unlisted:
            return f"is not on the list of driver {branch}"
        return _border(branch, first, last, f"needs driver {first} or newer", "driver ")

    def cuda_border(self, cuda: str) -> str:
        """Why a toolkit does not compile for it, as the end of a sentence; "" where it does."""
        first, last = self.first_cuda, self.last_cuda
        return _border(cuda, first, last, f"begins with {first}")


@cache
def of(card: Gpu) -> Limits:
    """Those of its architecture, of its compute capability and of the card itself together."""
    table = catalog.load("gpus")
    rows = [
        *(row for row in table["architecture"] if row["name"] == card.architecture),
        *(row for row in table["capability"] if row["name"] == card.compute_capability),
        *(row for row in table["device"] if card.id == f"10de:{row['id']}"),
    ]
    if not rows:
        return Limits()
    return Limits(
        flavours=tuple(rows[0].get("flavours", ())),
        first_driver=_last_of(rows, "first_driver"),
        last_driver=rows[0].get("last_driver", ""),
        first_cuda=_last_of(rows, "first_cuda"),
        last_cuda=rows[0].get("last_cuda", ""),
        unlisted=tuple(
            branch
            for branch, ids in table["unlisted"].items()
            if branch.isdecimal() and card.id.removeprefix("10de:") in ids
        ),
    )


def _last_of(rows: list[dict[str, Any]], key: str) -> str:
    last: str = max((row.get(key, "") for row in rows), key=number)
    return last


def _border(version: str, first: str, last: str, begins: str, what: str = "") -> str:
    numbers = number(version)
    if last and numbers > number(last):
        return f"ends with {what}{last}"
    return begins if first and numbers < number(first) else ""
