"""Which driver branch and which kernel modules a set of cards gets, or why none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from deeprig.catalog import branches, gpu_limits, package_names
from deeprig.catalog.gpus import Gpu, product, whole_system
from deeprig.resolver import apt_index, driver_refusals, kernel_modules
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import (
    SOURCES,
    Request,
    Source,
    join_cards,
    source_title,
    system_title,
)
from deeprig.settings import Driver
from deeprig.ui.words import join_words

Flavour = Literal["open", "proprietary"] | None
PREFERRED: tuple[Literal["open", "proprietary"], ...] = ("open", "proprietary")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A driver that every card of the request runs, and that its source has."""

    branch: str
    flavour: str
    source: str
    modules: str
    row: dict[str, Any]
    kernels: tuple[str, ...] = ()

    def packages(self, request: Request) -> tuple[str, ...]:
        """The first one has the driver's version."""
        desktop = request.driver and request.driver.desktop == "keep"
        names = list(self.row[self.flavour]["desktop" if desktop else "packages"])
        if request.switches:
            names += self.of_the_switches(request)
        return package_names.filled(names, branch=self.branch, kernels=self.kernels)

    def of_the_switches(self, request: Request) -> list[str]:
        """The fabric manager and what belongs to it; none where the source lacks it."""
        return package_names.of_the_switches(
            self.row, self.branch, subnet_manager=request.subnet_manager
        )

    @property
    def library(self) -> str:
        """The package that has libcuda.so.1."""
        return package_names.filled([self.row["library"]], branch=self.branch)[0]

    @property
    def pin(self) -> str:
        """The package that keeps to the branch, "" where there is none."""
        if self.branch not in self.row.get("pinned", ()):
            return ""
        return package_names.filled([self.row["pin"]], branch=self.branch)[0]


def choose(request: Request) -> Choice | Refusal:
    """The driver for a request that has cards."""
    choice = first(request)
    if choice is None:
        return Refusal(refusal=driver_refusals.why_none(request), instead=_instead(request))
    return driver_refusals.of_the_box(request, choice.modules, _signed(request)) or choice


def _signed(request: Request) -> str:
    """The settings with which Ubuntu's archive has signed modules for this box, in words; "" where
    it has none.
    """
    settings = request.driver or Driver()
    by_archive = replace(settings, source="distro", branch=None, flavour=None)
    usual = replace(request.graphics, kernel_packages=("linux-image-generic",))
    for graphics, more in ((request.graphics, ""), (usual, " with linux-image-generic")):
        choice = first(replace(request, driver=by_archive, graphics=graphics))
        if choice and choice.modules == "prebuilt":
            return f'Driver(source="distro"){more}'
    return ""


def left_alone(request: Request) -> str:
    """Why a box that comes with NVIDIA's own system keeps its driver; "" where it gets one: where
    somebody asks for a driver in particular, or the distribution's archive drives it.
    """
    settings = request.driver or Driver()
    chosen = settings.source or settings.branch or settings.flavour
    row = next(filter(None, map(whole_system, request.cards)), None)
    if row is None or chosen or request.driver_source == "distro":
        return ""
    cards = join_cards([card for card in request.cards if whole_system(card)])
    return f"{cards} is {row['is']}: what is there is left alone"


def why_branch(request: Request, found: Choice) -> str:
    """Why this branch and not another, in a sentence."""
    cards = join_cards(request.cards)
    if request.driver and request.driver.branch:
        return f"Driver.branch asks for it, and it drives {cards}"
    if found.branch == request.graphics.standing_driver:
        request = replace(request, graphics=replace(request.graphics, standing_driver=""))
        new = first(request)
        if new is not None and new.branch != found.branch:
            move = f'Driver(branch="{new.branch}") and `deeprig driver upgrade` move this one'
            return f"it is installed, and drives {cards}; a new box would get {new.branch}: {move}"
    row = branches.row(found.branch)
    every = request.branches(found.source)
    passed_over = every[: every.index(found.branch)]
    if request.unknown and passed_over:
        return f"the archive's own packages name {join_cards(request.unknown)} for it"
    if passed_over:
        unable = [name for name in passed_over if not _drives(request, name)]
        why = f"drives {cards}, and {' and '.join(unable)} does not"
        if not unable:
            why = f"drives {cards}, and the index has no {' and no '.join(passed_over)}"
        return f"the first {row['kind']} branch that {why}"
    young = [name for name in every if _waits(request, found.branch, name)]
    later = f"; {join_words(young)} is too new to be the default" if young else ""
    place_ = source_title(request.system, found.source)
    return f"the {row['kind']} branch of {place_} drives {cards}{later}"


def _waits(request: Request, taken: str, other: str) -> bool:
    """Whether the other branch would have been taken if it were older."""
    young = branches.is_young(other, request.today)
    order = list(branches.known())
    return young and order.index(other) < order.index(taken) and _drives(request, other)


def why_flavour(request: Request, found: Choice) -> str:
    """Why these kernel modules, in a sentence."""
    if request.driver and request.driver.flavour:
        return "Driver.flavour asks for it, and every card runs it"
    if request.unknown:
        return "the archive's packages name the card for these modules"
    if found.flavour == "open":
        return "every card is a Turing or newer: the kind NVIDIA goes on with"
    unable = [card for card in request.known if "open" not in gpu_limits.of(card).flavours]
    if unable:
        return f"{join_cards(unable)} cannot run the open ones"
    return f"{source_title(request.system, found.source)} has no open ones for {found.branch}"


def first(request: Request) -> Choice | None:
    """The best driver that there is for a request.

    One whose modules the archive has ready goes before one of the same kind that is built on the
    box: it needs no compiler, and Secure Boot takes it.
    """
    choices = list(_possible(request))
    if not choices:
        return None
    kind = branches.row(choices[0].branch)["kind"]
    ready = (one for one in choices if one.modules == "prebuilt" and _is_usual(request, one, kind))
    stands = choices[0].branch == request.graphics.standing_driver
    return choices[0] if stands or choices[0].modules == "prebuilt" else next(ready, choices[0])


def _is_usual(request: Request, found: Choice, kind: str) -> bool:
    same = branches.row(found.branch)["kind"] == kind
    return same and not branches.has_ended(found.branch, request.today)


def _possible(request: Request) -> Iterator[Choice]:
    settings, source = request.driver, request.driver_source
    if settings is None or len(request.system) == 0 or any(map(product, request.cards)):
        return
    for branch in request.branches(source):
        if settings.branch not in (None, branch) or not _drives(request, branch):
            continue
        for flavour in PREFERRED:
            if settings.flavour not in (None, flavour) or not _runs(request, branch, flavour):
                continue
            choice = _with_modules(request, branch, flavour)
            if choice:
                yield choice


def _drives(request: Request, branch: str) -> bool:
    return all(gpu_limits.of(card).drives(branch) for card in request.known)


def _runs(request: Request, branch: str, flavour: str) -> bool:
    row = branches.row(branch)
    if flavour not in row["flavours"]:
        return False
    named_for = (apt_index.named_by_archive(request.graphics, card) for card in request.cards)
    if row.get("new") and not all((branch, flavour) in named for named in named_for):
        return False
    if not all(flavour in gpu_limits.of(card).flavours for card in request.known):
        return False
    return all(driver_refusals.may_run(request, card, branch, flavour) for card in request.unknown)


def _with_modules(request: Request, branch: str, flavour: str) -> Choice | None:
    """The choice with the archive's own modules where it builds them for the box's kernels."""
    system, source = request.system, request.driver_source
    kernels = kernel_modules.prebuilt_for(system, request.graphics)
    for modules in ("prebuilt", "dkms"):
        row = package_names.driver_set(system, source, branch, modules)
        if row is None or flavour not in row or (modules == "prebuilt" and not kernels):
            continue
        choice = Choice(
            branch=branch, flavour=flavour, source=source, modules=modules, row=row,
            kernels=kernels,
        )  # fmt: skip
        if request.switches and not choice.of_the_switches(request):
            continue
        names = choice.packages(request)
        offered = apt_index.available(request.graphics, system, source, names)
        right = apt_index.has_version(request.graphics, system, source, names[0], f"{branch}.*")
        if offered and right:
            return choice
    return None


def _instead(request: Request) -> str:
    """The settings nearest to those asked for with which there would be a driver."""
    settings = request.driver
    if settings is None:
        return "Rig(driver=None)."
    kept: tuple[tuple[str | None, Flavour], ...] = (
        (settings.branch, None), (None, settings.flavour), (None, None),
    )  # fmt: skip
    for source in (request.driver_source, *SOURCES):
        for branch, flavour in kept:
            nearest = replace(settings, source=source, branch=branch, flavour=flavour)
            choice = first(replace(request, driver=nearest))
            if choice:
                return _settings(request, choice)
    if strange := next(filter(None, map(product, request.cards)), None):
        return f"{strange['instead']}."
    if without := _without(request):
        return f"take {join_cards(without)} out of the box."
    if sides := driver_refusals.no_one_module(request):
        return f"take {join_cards(min(sides, key=len))} out of the box."
    if request.unknown:
        return (
            f"{_both_named(request, settings)}Rig(driver=None) and a driver that you choose; "
            "please report the id."
        )
    if not request.branches("nvidia"):
        return "Rig(driver=None) and a driver that you install."
    return f"Rig(driver=None): deeprig knows no driver for it on {system_title(request.system)}."


def _without(request: Request) -> list[Gpu]:
    """The cards that nothing drives even alone, where others would have a driver without them."""
    too_old = [card for card in request.cards if driver_refusals.is_too_old(card)]
    if too_old:
        return too_old if len(too_old) < len(request.cards) else []
    alone = {
        card.id: any(
            first(replace(request, cards=(card,), driver=_plain(request, source)))
            for source in SOURCES
        )
        for card in request.known
    }
    unable = [card for card in request.known if not alone[card.id]]
    return unable if any(alone.values()) else []


def _plain(request: Request, source: Source) -> Driver:
    settings = request.driver or Driver()
    return replace(settings, source=source, branch=None, flavour=None)


def _both_named(request: Request, settings: Driver) -> str:
    """The first branch and flavour there that an unknown card may be given by hand."""
    for branch in request.branches():
        for flavour in PREFERRED:
            named_both = replace(settings, branch=branch, flavour=flavour)
            if choice := first(replace(request, driver=named_both)):
                example = f'Driver(branch="{choice.branch}", flavour="{choice.flavour}")'
                return f"name both, such as {example}, if you know what it needs; or "
    return ""


def _settings(request: Request, found: Choice) -> str:
    driver = request.driver
    parts = []
    if found.source != request.driver_source:
        parts.append(f'source="{found.source}"')
    if driver and driver.branch:
        parts.append(f'branch="{found.branch}"')
    if driver and driver.flavour:
        parts.append(f'flavour="{found.flavour}"')
    return f"Driver({', '.join(parts)})."
