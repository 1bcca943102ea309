"""A card by what people call it: `RTX 3090`, `NVIDIA A100 80GB PCIe`, 10de:2204."""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from deeprig import data, limits
from deeprig.errors import DeeprigError
from deeprig.gpus import Gpu, identify
from deeprig.question import listed

MOST_SHOWN = 8


def find(asked: str) -> Gpu:
    """The card of a name, or of an id. Raises DeeprigError where it is none, or may be several.

    Where those of one name are all the same to a driver and to CUDA, the first stands for them.
    """
    if ":" in asked:
        return _by_id(asked)
    names: dict[str, str] = data.load("gpus")["ids"]["names"]
    wanted = _words(asked)
    steps: tuple[Callable[[list[str]], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name in _in_full(wanted),
        lambda name: _is_part(wanted, name),
        lambda name: bool(wanted) and set(wanted) <= set(name),
    )
    for fits in steps:
        found = [identify(f"10de:{id_}") for id_, name in names.items() if fits(_words(name))]
        if found and all(_runs(card) == _runs(found[0]) for card in found):
            return found[0]
        if found:
            raise DeeprigError(f"--gpu {asked!r} may be {_listed(found)}; name one of them.")
    raise DeeprigError(_unknown(asked, names.values()))


def _by_id(asked: str) -> Gpu:
    pci_id = asked.strip().lower()
    if not re.fullmatch(r"10de:[0-9a-f]{4}", pci_id):
        raise DeeprigError(
            f"--gpu {asked!r} is no id of an NVIDIA card; write it like 10de:2204, as "
            "`lspci -nn` shows it."
        )
    return identify(pci_id)


def _words(name: str) -> list[str]:
    """In lower case, as the drivers write it or as the list of ids does."""
    apart = re.sub(r"(rtx|gtx)(?=\d)|(\d{3,})(?=ti\b|super\b)", r"\g<0> ", name.lower().strip())
    words = re.split(r"[\s/-]+", apart)
    return words[1:] if words[0] == "nvidia" else words


def _in_full(wanted: list[str]) -> list[list[str]]:
    """What a name without its family may stand for; a bare number is that of a GeForce."""
    families = [["geforce"], ["tesla"]]
    if wanted[:1] and wanted[0].isdecimal():
        families += [["geforce", "rtx"], ["geforce", "gtx"]]
    return [[*family, *wanted] for family in families]


def _is_part(wanted: list[str], name: list[str]) -> bool:
    size = len(wanted)
    return bool(size) and any(
        name[start : start + size] == wanted for start in range(len(name) - size + 1)
    )


def _runs(card: Gpu) -> tuple[str, limits.Limits]:
    return card.compute_capability, limits.of(card)


def _listed(cards: list[Gpu]) -> str:
    shown = ", ".join(str(card) for card in cards[:MOST_SHOWN])
    more = len(cards) - MOST_SHOWN
    return f"{shown} or one of {more} more" if more > 0 else shown


def _unknown(asked: str, names: Iterable[str]) -> str:
    known = {short: name for name in names for short in (name.lower(), _short(name))}
    near = get_close_matches(_short(asked), known, n=6, cutoff=0.6)
    meant = listed(list(dict.fromkeys(known[name] for name in near))[:3])
    return (
        f"--gpu {asked!r} is no card that deeprig knows by name"
        f"{f'; near it are {meant}' if meant else ''}; an id does too, such as 10de:2204."
    )


def _short(name: str) -> str:
    return re.sub(r"^(nvidia )?(geforce |tesla )?", "", name.lower().strip())
