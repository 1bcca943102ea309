"""Which GPUs TensorFlow's wheels have no kernels for."""

from collections.abc import Mapping, Sequence

from deeprig import catalog
from deeprig.catalog.gpus import Gpu
from deeprig.resolver import torch_choice
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import join_cards

Unable = Mapping[Gpu, bool]


def unable(cards: Sequence[Gpu]) -> dict[Gpu, bool]:
    """Each card that a table knows -> whether the wheels have no kernels for it."""
    kernels: list[str] = catalog.load("frameworks")["kernels"]["tensorflow"]
    known = (card for card in cards if card.is_known)
    return {card: not torch_choice.runs_on(kernels, card.compute_capability) for card in known}


def refusal(found: Unable, *, torch: bool) -> Refusal | None:
    """Why a box cannot have it, where that is so for all of its cards."""
    if not found or not all(found.values()):
        return None
    other = "; torch has kernels for it" if torch else ""
    return Refusal(
        refusal=_sentence(list(found)),
        instead=f'Python(frameworks=...) without "tensorflow"{other}.',
    )


def warnings(found: Unable) -> tuple[str, ...]:
    """The same where others of its cards can run it."""
    cards = [card for card, is_unable in found.items() if is_unable]
    return (_sentence(cards),) if cards else ()


def _sentence(cards: Sequence[Gpu]) -> str:
    return f"TensorFlow's wheels have no kernels for {join_cards(cards)}."
