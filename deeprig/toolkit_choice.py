"""Whether a CUDA toolkit goes with a set of cards and with a driver."""

from collections.abc import Sequence
from typing import Any

from deeprig.driver_choice import NOT_YET, Refusal, limits, named
from deeprig.gpus import Gpu


def refusal(row: dict[str, Any], cards: Sequence[Gpu], driver: dict[str, Any]) -> Refusal | None:
    """Why the toolkit of `row` is not for these cards, or not for `driver`, empty for none."""
    cuda = row["cuda"]
    for card in cards:
        first, last = limits(card).get("first_cuda", ""), limits(card).get("last_cuda", "")
        if first and _number(cuda) < _number(first):
            return _not_for(card, cuda, f"begins with {first}")
        if last and _number(cuda) > _number(last):
            return _not_for(card, cuda, f"ends with {last}")
    if driver and _number(cuda) > _number(driver["cuda"]):
        return Refusal(
            refusal=f"CUDA {cuda} is more than driver {driver['branch']} runs, which is "
            f"{driver['cuda']}.",
            instead="Rig(cuda=None).",
        )
    return None


def reason(row: dict[str, Any], cards: Sequence[Gpu], driver: dict[str, Any]) -> str:
    for_whom = f"for {named(cards)}" if cards else "without a card in the box"
    limit = f", and driver {driver['branch']} runs up to {driver['cuda']}" if driver else ""
    return f"{row['cuda']} is what the archive has; it compiles {for_whom}{limit}"


def _not_for(card: Gpu, cuda: str, border: str) -> Refusal:
    return Refusal(
        refusal=f"CUDA {cuda}, which the archive has, does not compile for {card}, whose CUDA "
        f"{border}.",
        instead=f"Rig(cuda=None), or NVIDIA's own repository, {NOT_YET}.",
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
