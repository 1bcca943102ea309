"""Which torch and which JAX have kernels for a set of cards and run with their driver."""

from collections.abc import Callable, Container, Sequence
from typing import Any

from deeprig import catalog
from deeprig.catalog import branches
from deeprig.catalog.branches import number
from deeprig.catalog.gpus import Gpu
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import join_cards

Build = dict[str, Any]


def choose(
    cards: Sequence[Gpu],
    driver: str,
    asked: str | None,
    toolkits: Container[str] = (),
    architecture: str = "amd64",
    python: str = "",
) -> Build | Refusal | None:
    """The row of torch.toml for these cards; None where no torch has kernels for any of them.

    `driver` is the branch that runs, "" where nobody knows; `asked` a release such as 2.14. A build
    with the CUDA of one of the `toolkits` goes before the others of its release. The answer has
    what was `asked`, if anything, and the `python` where that has no wheels of the newest.
    """
    whole = _builds(architecture)
    every = [row for row in whole if _has_wheels(row, python)]
    rows = [row for row in every if not driver or number(row["driver"]) <= number(driver)]
    releases = [row for row in rows if asked is None or _is(row, asked)]
    able = max((_able(row, cards) for row in rows), key=len, default=[])
    fitting = [row for row in releases if able and len(_able(row, cards)) == len(able)]
    if fitting:
        newest = [row for row in fitting if row["torch"] == fitting[0]["torch"]]
        paired = [row for row in newest if row["cuda"] in toolkits]
        too_old = {"python": python if len(every) < len(whole) else ""}
        return _nearest(paired or newest, driver) | too_old | ({"asked": asked} if asked else {})
    return _refusal(cards, driver, asked, rows, architecture, python) if asked else None


def requirement(build: Build) -> str:
    """As uv takes it: the newest release is not bound to its number unless somebody asks for it."""
    release = build.get("asked", "")
    if release and release != build["torch"]:
        return f"torch=={release}"
    if build["torch"] == _builds()[0]["torch"] and not release:
        return "torch"
    return f"torch=={build.get('version') or build['torch'] + '.*'}"


def why(build: Build, cards: Sequence[Gpu], driver: str) -> str:
    """Why this torch and not the package index's newest, in a sentence."""
    able = _able(build, cards)
    unable = [card for card in cards if card not in able]
    without = f", which has none for {join_cards(unable)}" if unable else ""
    newest = next(row for row in _builds(build["architecture"]))
    cuda = f"torch {build['torch']} with CUDA {build['cuda']}"
    if build["torch"] == newest["torch"]:
        return f"{cuda} has kernels for {join_cards(able)}{without}"
    if build["python"] and not build.get("asked"):
        older = f"newer ones need Python {newest['first_python']}, and this is {build['python']}"
        return f"{cuda} has kernels for {join_cards(able)}{without}; {older}"
    if len(_able(newest, cards)) < len(able):
        return f"{cuda} is the last with kernels for {join_cards(able)}{without}"
    return (
        f"{cuda} has kernels for {join_cards(able)}{without}; newer ones need a driver from "
        f"{newest['driver']} on, and this one is {driver}"
        if driver and number(driver) < number(newest["driver"])
        else f"{cuda} is what was asked for, and has kernels for {join_cards(able)}{without}"
    )


def jax(cards: Sequence[Gpu], driver: str, python: str = "") -> str:
    """JAX with the CUDA that these cards and this driver run, and that it has for this Python."""
    needs = catalog.load("torch")["jax"]["cuda13"]
    new = all(
        number(card.compute_capability) >= number(needs["first_capability"])
        for card in cards
        if card.compute_capability
    )
    runs = not driver or number(driver) >= number(needs["driver"])
    return "jax[cuda13]" if new and runs and _has_wheels(needs, python) else "jax[cuda12]"


def _builds(architecture: str = "amd64") -> list[Build]:
    """The rows, with the capabilities of the wheels for this processor."""
    rows: list[Build] = catalog.load("torch")["build"]
    key = "arm64" if architecture == "arm64" else "capabilities"
    return [row | {"capabilities": row[key], "architecture": architecture} for row in rows]


def _has_wheels(row: Build, python: str) -> bool:
    """Whether there are any for a Python; "" is for one that nobody knows."""
    return not python or number(row.get("first_python", "")) <= number(python)


def _is(build: Build, asked: str) -> bool:
    """Whether a build is of this release: 2.14, or one of its versions that the index has."""
    release = ".".join(asked.split(".")[:2])
    versions = catalog.load("torch")["releases"]["versions"]
    return build["torch"] == release and (asked == release or asked in versions)


def _able_for(card: Gpu) -> Callable[[Build], bool]:
    return lambda build: runs_on(build["capabilities"], card.compute_capability)


def _able(build: Build, cards: Sequence[Gpu]) -> list[Gpu]:
    return [card for card in cards if runs_on(build["capabilities"], card.compute_capability)]


def runs_on(kernels: Sequence[str], capability: str) -> bool:
    """Whether one of the kernels has the capability's major number and no larger minor one."""
    mine = number(capability)
    capabilities = [number(row) for row in kernels]
    return any(mine and row[0] == mine[0] and row <= mine for row in capabilities)


def _nearest(rows: list[Build], driver: str) -> Build:
    """The one whose CUDA is the driver's own or the nearest below it; the first, without one."""
    if not driver:
        return rows[0]
    own = number(branches.cuda(driver))
    below = [row for row in rows if number(row["cuda"]) <= own]
    return max(below, key=lambda row: number(row["cuda"])) if below else rows[-1]


def _refusal(
    cards: Sequence[Gpu],
    driver: str,
    asked: str,
    rows: list[Build],
    architecture: str,
    python: str,
) -> Refusal:
    every = _builds(architecture)
    named_rows = [row for row in every if _is(row, asked)]
    if not named_rows:
        known = list(dict.fromkeys(row["torch"] for row in every))
        versions = catalog.load("torch")["releases"]["versions"]
        what = (
            f"Python.torch is {asked!r}, and deeprig knows {', '.join(known)}, and of their "
            f"versions {', '.join(versions)}."
        )
    elif not any(_has_wheels(row, python) for row in named_rows):
        least = min((row["first_python"] for row in named_rows), key=number)
        what = f"torch {asked} needs Python {least}, and Python.python is {python}."
    elif not any(row in rows for row in named_rows):
        least = min((row["driver"] for row in named_rows), key=number)
        what = f"torch {asked} needs a driver from {least} on, and this one is {driver}."
    else:
        lacking = [card for card in cards if not any(map(_able_for(card), named_rows))] or cards
        what = f"torch {asked} has no kernels for {join_cards(lacking)}."
    other = choose(cards, driver, None, architecture=architecture, python=python)
    fits = f'Python(torch="{other["torch"]}")' if isinstance(other, dict) else "Python(torch=None)"
    return Refusal(refusal=what, instead=f"{fits}.")
