"""A GPU by what people call it: `RTX 3090`, `NVIDIA A100 80GB PCIe`, 2 x 3090, 10de:2204."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from deeprig import catalog
from deeprig.catalog import gpu_limits
from deeprig.catalog.gpus import Gpu, identify
from deeprig.errors import DeeprigError
from deeprig.ui.words import join_words

MOST_SHOWN = 8
COUNT = re.compile(r"(?P<count>[1-9]\d?) ?[x\u00d7*] ?(?P<name>\S.*)", re.IGNORECASE)
ID = re.compile(r"(?:(?:0x)?(?P<vendor>[0-9a-f]{4}):)?(?P<prefix>0x)?(?P<device>[0-9a-f]{4})")
# As shops and chats write it -> as the driver does.
SPELLINGS = (
    (r"[()\u2122\u00ae,]", " "),
    (r"\b(\d+) ?(gb|gib|g)\b", r"\1gb"),
    (r"(rtx|gtx)(?=\d)", r"\1 "),
    (r"(?<![a-z\d])(\d{4})s\b", r"\1 super"),
    (r"(?<![a-z\d])(\d{4}) ?tis\b", r"\1 ti super"),
    (r"(\d{3,})(?=ti\b|super\b|d\b)", r"\1 "),
)
MEMORY = re.compile(r"\b\d+gb\b")
Words = tuple[str, ...]


def find_all(asked: str) -> tuple[Gpu, ...]:
    """The cards of "2 x RTX 3090", or the one of a name without a number. Raises DeeprigError."""
    counted = COUNT.fullmatch(asked.strip())
    if counted is None:
        return (find(asked),)
    return (find(counted["name"]),) * int(counted["count"])


def find(asked: str) -> Gpu:
    """The card of a name, or of an id. Raises DeeprigError where it is none, or may be several.

    Where those of one name are all the same to a driver and to CUDA, the first stands for them.
    """
    text = asked.strip().lower()
    by_id = ID.fullmatch(text)
    if ":" in text or (by_id and by_id["prefix"]):
        return _by_id(asked, by_id)
    for words in _readings(text):
        matches = _of_words(words)
        if matches:
            return _the_one(asked, matches)
    if by_id and identify(f"10de:{text}").is_known:
        return identify(f"10de:{text}")
    raise DeeprigError(_not_ours(asked, text) or _unknown(asked))


def _by_id(asked: str, found: re.Match[str] | None) -> Gpu:
    vendors: dict[str, str] = catalog.load("gpu_names")["vendors"]
    if found and found["vendor"] in vendors:
        raise DeeprigError(f"{asked!r} is {vendors[found['vendor']]}; {_ours()}.")
    if found is None or found["vendor"] not in (None, "10de"):
        raise DeeprigError(
            f"{asked!r} is no id of an NVIDIA card; write it like 10de:2204, as `lspci -nn` shows "
            "it."
        )
    return identify(f"10de:{found['device']}")


def _readings(text: str) -> list[Words]:
    """The words as they stand, then without what is no part of a name, then without the memory."""
    spelled = _spelled(text)
    words = sorted(catalog.load("gpu_names")["noise"]["words"], key=len, reverse=True)
    noise = "|".join(map(re.escape, words))
    bare = re.sub(rf"\b(?:{noise})\b", " ", spelled)
    every = (spelled, bare, MEMORY.sub(" ", spelled), MEMORY.sub(" ", bare))
    return [words for words in dict.fromkeys(map(_words, every)) if words]


def _spelled(name: str) -> str:
    for pattern, right in SPELLINGS:
        name = re.sub(pattern, right, name)
    return name


def _words(name: str) -> Words:
    words = tuple(re.split(r"[\s/_-]+", name.strip()))
    return tuple(filter(None, words[1:] if words[0] == "nvidia" else words))


@cache
def _names() -> tuple[tuple[str, str, Words], ...]:
    """Device, name and words: as they are shown first, then as the driver calls them."""
    shown = catalog.load("gpus")["ids"]["names"].items()
    more = catalog.load("gpu_names")["names"].items()
    every = [*shown, *((device, name) for device, names in more for name in names)]
    return tuple((device, name, _words(_spelled(name.lower()))) for device, name in every)


def _of_words(wanted: Words) -> list[tuple[Words, Gpu]]:
    """The cards that the first of these steps finds, each with the words that it was found by."""
    steps: tuple[Callable[[Words], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name in _in_full(wanted),
        lambda name: _is_part(wanted, name),
        lambda name: all(any(_same(mine, its) for its in name) for mine in wanted),
    )
    for fits in steps:
        if matches := [(words, device) for device, _, words in _names() if fits(words)]:
            return [(words, identify(f"10de:{device}")) for words, device in matches]
    return []


def _in_full(wanted: Words) -> list[Words]:
    """What a name without its family may stand for; a bare number is that of a GeForce."""
    families: list[Words] = [("geforce",), ("tesla",)]
    if wanted[0].isdecimal():
        families += [("geforce", "rtx"), ("geforce", "gtx")]
    return [(*family, *wanted) for family in families]


def _is_part(wanted: Words, name: Words) -> bool:
    size = len(wanted)
    return any(
        all(map(_same, wanted, name[start : start + size])) for start in range(len(name) - size + 1)
    )


def _same(mine: str, its: str) -> bool:
    """sxm is sxm4 and sxm5."""
    return mine == its or (mine == "sxm" and its.startswith("sxm"))


def _the_one(asked: str, found: list[tuple[Words, Gpu]]) -> Gpu:
    cards = list(dict.fromkeys(card for _, card in found))
    one_name = len({words for words, _ in found}) == 1
    if one_name or all(_runs(card) == _runs(cards[0]) for card in cards):
        return cards[0]
    raise DeeprigError(f"{asked!r} may be {_listed(cards)}; name one of them.")


def _runs(card: Gpu) -> tuple[str, gpu_limits.Limits]:
    return card.compute_capability, replace(gpu_limits.of(card), unlisted=())


def _listed(cards: list[Gpu]) -> str:
    each = list(dict.fromkeys(map(str, cards)))
    more = len(each) - MOST_SHOWN
    shown = ", ".join(each[:MOST_SHOWN])
    return f"{shown} or one of {more} more" if more > 0 else shown


def _not_ours(asked: str, text: str) -> str:
    """What is asked for, where it is another maker's or another product; "" where nobody knows."""
    rows: list[dict[str, Any]] = catalog.load("gpu_names")["other"]
    row = next((row for row in rows if re.search(row["pattern"], text)), None)
    return f"{asked!r} is {row['is']}; {row['instead']}." if row else ""


def _ours() -> str:
    advice: str = catalog.load("gpu_names")["other"][0]["instead"]
    return advice


def _unknown(asked: str) -> str:
    known = {short: name for _, name, _ in _names() for short in (name.lower(), _short(name))}
    near = get_close_matches(_short(asked), known, n=6, cutoff=0.6)
    meant = join_words(list(dict.fromkeys(known[name] for name in near))[:3])
    return (
        f"{asked!r} is no card that deeprig knows by name"
        f"{f'; near it are {meant}' if meant else ''}; an id does too, such as 10de:2204."
    )


def _short(name: str) -> str:
    return re.sub(r"^(nvidia )?(geforce |tesla )?", "", name.lower().strip())


def ids(names: Iterable[str]) -> tuple[str, ...]:
    """The ids of names or ids. Raises DeeprigError."""
    return tuple(card.id for name in names for card in find_all(name))
