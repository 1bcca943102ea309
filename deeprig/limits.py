"""What a card can run: kernel modules, driver branches and CUDA toolkits."""

from dataclasses import dataclass
from typing import Any

from deeprig import data
from deeprig.branches import number
from deeprig.gpus import Gpu


@dataclass(frozen=True, kw_only=True)
class Limits:
    """First and last are included; "" for no limit."""

    flavours: tuple[str, ...] = ()
    first_driver: str = ""
    last_driver: str = ""
    first_cuda: str = ""
    last_cuda: str = ""

    def drives(self, branch: str) -> bool:
        return _within(branch, self.first_driver, self.last_driver)

    def compiles(self, cuda: str) -> bool:
        return _within(cuda, self.first_cuda, self.last_cuda)


def of(card: Gpu) -> Limits:
    """Those of its architecture, of its compute capability and of the card itself together."""
    table = data.load("gpus")
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
    )


def _last_of(rows: list[dict[str, Any]], key: str) -> str:
    found: str = max((row.get(key, "") for row in rows), key=number)
    return found


def _within(version: str, first: str, last: str) -> bool:
    asked = number(version)
    return (not first or number(first) <= asked) and (not last or asked <= number(last))
