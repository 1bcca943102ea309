"""Which driver branch and which kernel modules a set of cards gets, or why none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from deeprig.catalog import branches, gpu_limits
from deeprig.catalog import packages as package_names
from deeprig.catalog.gpus import Gpu, product, whole_system
from deeprig.resolver import apt_index, driver_refusals, kernel_modules
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import SOURCES, Question, Source, called, listed, named, place
from deeprig.settings import Driver

Flavour = Literal["open", "proprietary"] | None
PREFERRED: tuple[Literal["open", "proprietary"], ...] = ("open", "proprietary")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A driver that every card of the question runs, and that its source has."""

    branch: str
    flavour: str
    source: str
    modules: str
    row: dict[str, Any]
    kernels: tuple[str, ...] = ()

    def packages(self, question: Question) -> tuple[str, ...]:
        """The first one has the driver's version."""
        desktop = question.driver and question.driver.desktop == "keep"
        names = list(self.row[self.flavour]["desktop" if desktop else "packages"])
        if question.switches:
            names += self.of_the_switches(question)
        return package_names.filled(names, branch=self.branch, kernels=self.kernels)

    def of_the_switches(self, question: Question) -> list[str]:
        """The fabric manager and what belongs to it; none where the source lacks it."""
        return package_names.of_the_switches(
            self.row, self.branch, subnet_manager=question.subnet_manager
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


def choose(question: Question) -> Choice | Refusal:
    """The driver for a question that has cards."""
    found = first(question)
    if found is None:
        return Refusal(refusal=driver_refusals.why_none(question), instead=_instead(question))
    return driver_refusals.of_the_box(question, found.modules, _signed(question)) or found


def _signed(question: Question) -> str:
    """The settings with which Ubuntu's archive has signed modules for this box, in words; "" where
    it has none.
    """
    settings = question.driver or Driver()
    asked = replace(settings, source="distro", branch=None, flavour=None)
    usual = replace(question.graphics, kernel_packages=("linux-image-generic",))
    for graphics, more in ((question.graphics, ""), (usual, " with linux-image-generic")):
        found = first(replace(question, driver=asked, graphics=graphics))
        if found and found.modules == "prebuilt":
            return f'Driver(source="distro"){more}'
    return ""


def left_alone(question: Question) -> str:
    """Why a box that comes with NVIDIA's own system keeps its driver; "" where it gets one: where
    somebody asks for a driver in particular, or the distribution's archive drives it.
    """
    settings = question.driver or Driver()
    asked = settings.source or settings.branch or settings.flavour
    row = next(filter(None, map(whole_system, question.cards)), None)
    if row is None or asked or question.driver_source == "distro":
        return ""
    cards = named([card for card in question.cards if whole_system(card)])
    return f"{cards} is {row['is']}: what is there is left alone"


def why_branch(question: Question, found: Choice) -> str:
    """Why this branch and not another, in a sentence."""
    cards = named(question.cards)
    if question.driver and question.driver.branch:
        return f"Driver.branch asks for it, and it drives {cards}"
    if found.branch == question.graphics.standing_driver:
        question = replace(question, graphics=replace(question.graphics, standing_driver=""))
        new = first(question)
        if new is not None and new.branch != found.branch:
            move = f'Driver(branch="{new.branch}") and `deeprig driver upgrade` move this one'
            return f"it is installed, and drives {cards}; a new box would get {new.branch}: {move}"
    row = branches.row(found.branch)
    every = question.branches(found.source)
    passed_over = every[: every.index(found.branch)]
    if question.unknown and passed_over:
        return f"the archive's own packages name {named(question.unknown)} for it"
    if passed_over:
        unable = [name for name in passed_over if not _drives(question, name)]
        why = f"drives {cards}, and {' and '.join(unable)} does not"
        if not unable:
            why = f"drives {cards}, and the index has no {' and no '.join(passed_over)}"
        return f"the first {row['kind']} branch that {why}"
    young = [name for name in every if _waits(question, found.branch, name)]
    later = f"; {listed(young)} is too new to be the default" if young else ""
    place_ = place(question.system, found.source)
    return f"the {row['kind']} branch of {place_} drives {cards}{later}"


def _waits(question: Question, taken: str, other: str) -> bool:
    """Whether the other branch would have been taken if it were older."""
    young = branches.is_young(other, question.today)
    order = list(branches.known())
    return young and order.index(other) < order.index(taken) and _drives(question, other)


def why_flavour(question: Question, found: Choice) -> str:
    """Why these kernel modules, in a sentence."""
    if question.driver and question.driver.flavour:
        return "Driver.flavour asks for it, and every card runs it"
    if question.unknown:
        return "the archive's packages name the card for these modules"
    if found.flavour == "open":
        return "every card is a Turing or newer: the kind NVIDIA goes on with"
    unable = [card for card in question.known if "open" not in gpu_limits.of(card).flavours]
    if unable:
        return f"{named(unable)} cannot run the open ones"
    return f"{place(question.system, found.source)} has no open ones for {found.branch}"


def first(question: Question) -> Choice | None:
    """The best driver that there is for a question.

    One whose modules the archive has ready goes before one of the same kind that is built on the
    box: it needs no compiler, and Secure Boot takes it.
    """
    found = list(_possible(question))
    if not found:
        return None
    kind = branches.row(found[0].branch)["kind"]
    ready = (one for one in found if one.modules == "prebuilt" and _is_usual(question, one, kind))
    stands = found[0].branch == question.graphics.standing_driver
    return found[0] if stands or found[0].modules == "prebuilt" else next(ready, found[0])


def _is_usual(question: Question, found: Choice, kind: str) -> bool:
    same = branches.row(found.branch)["kind"] == kind
    return same and not branches.has_ended(found.branch, question.today)


def _possible(question: Question) -> Iterator[Choice]:
    settings, source = question.driver, question.driver_source
    if settings is None or len(question.system) == 0 or any(map(product, question.cards)):
        return
    for branch in question.branches(source):
        if settings.branch not in (None, branch) or not _drives(question, branch):
            continue
        for flavour in PREFERRED:
            if settings.flavour not in (None, flavour) or not _runs(question, branch, flavour):
                continue
            found = _with_modules(question, branch, flavour)
            if found:
                yield found


def _drives(question: Question, branch: str) -> bool:
    return all(gpu_limits.of(card).drives(branch) for card in question.known)


def _runs(question: Question, branch: str, flavour: str) -> bool:
    row = branches.row(branch)
    if flavour not in row["flavours"]:
        return False
    named_for = (apt_index.named_by_archive(question.graphics, card) for card in question.cards)
    if row.get("new") and not all((branch, flavour) in found for found in named_for):
        return False
    if not all(flavour in gpu_limits.of(card).flavours for card in question.known):
        return False
    return all(
        driver_refusals.may_run(question, card, branch, flavour) for card in question.unknown
    )


def _with_modules(question: Question, branch: str, flavour: str) -> Choice | None:
    """The choice with the archive's own modules where it builds them for the box's kernels."""
    system, source = question.system, question.driver_source
    kernels = kernel_modules.prebuilt_for(system, question.graphics)
    for modules in ("prebuilt", "dkms"):
        row = package_names.driver_set(system, source, branch, modules)
        if row is None or flavour not in row or (modules == "prebuilt" and not kernels):
            continue
        found = Choice(
            branch=branch, flavour=flavour, source=source, modules=modules, row=row,
            kernels=kernels,
        )  # fmt: skip
        if question.switches and not found.of_the_switches(question):
            continue
        names = found.packages(question)
        there = apt_index.has(question.graphics, system, source, names)
        right = apt_index.has_version(question.graphics, system, source, names[0], f"{branch}.*")
        if there and right:
            return found
    return None


def _instead(question: Question) -> str:
    """The settings nearest to those asked for with which there would be a driver."""
    settings = question.driver
    if settings is None:
        return "Rig(driver=None)."
    kept: tuple[tuple[str | None, Flavour], ...] = (
        (settings.branch, None), (None, settings.flavour), (None, None),
    )  # fmt: skip
    for source in (question.driver_source, *SOURCES):
        for branch, flavour in kept:
            nearest = replace(settings, source=source, branch=branch, flavour=flavour)
            found = first(replace(question, driver=nearest))
            if found:
                return _settings(question, found)
    if strange := next(filter(None, map(product, question.cards)), None):
        return f"{strange['instead']}."
    if without := _without(question):
        return f"take {named(without)} out of the box."
    if driver_refusals.together(question):
        return "take one of them out of the box."
    if question.unknown:
        return (
            f"{_both_named(question, settings)}Rig(driver=None) and a driver that you choose; "
            "please report the id."
        )
    if not question.branches("nvidia"):
        return "Rig(driver=None) and a driver that you install."
    return f"Rig(driver=None): deeprig knows no driver for it on {called(question.system)}."


def _without(question: Question) -> list[Gpu]:
    """The cards that nothing drives even alone, where others would have a driver without them."""
    too_old = [card for card in question.cards if driver_refusals.is_too_old(card)]
    if too_old:
        return too_old if len(too_old) < len(question.cards) else []
    alone = {
        card.id: any(
            first(replace(question, cards=(card,), driver=_plain(question, source)))
            for source in SOURCES
        )
        for card in question.known
    }
    unable = [card for card in question.known if not alone[card.id]]
    return unable if any(alone.values()) else []


def _plain(question: Question, source: Source) -> Driver:
    settings = question.driver or Driver()
    return replace(settings, source=source, branch=None, flavour=None)


def _both_named(question: Question, settings: Driver) -> str:
    """The first branch and flavour there that an unknown card may be given by hand."""
    for branch in question.branches():
        for flavour in PREFERRED:
            named_both = replace(settings, branch=branch, flavour=flavour)
            if found := first(replace(question, driver=named_both)):
                example = f'Driver(branch="{found.branch}", flavour="{found.flavour}")'
                return f"name both, such as {example}, if you know what it needs; or "
    return ""


def _settings(question: Question, found: Choice) -> str:
    asked = question.driver
    parts = []
    if found.source != question.driver_source:
        parts.append(f'source="{found.source}"')
    if asked and asked.branch:
        parts.append(f'branch="{found.branch}"')
    if asked and asked.flavour:
        parts.append(f'flavour="{found.flavour}"')
    return f"Driver({', '.join(parts)})."
