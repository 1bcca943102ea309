"""Which driver branch and which kernel modules a set of cards gets, or why none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from deeprig import branches, driver_objections, limits, module_choice, offers, package_names
from deeprig.question import SOURCES, Question, called, named, place
from deeprig.refusal import Refusal
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

    def packages(self, *, desktop: bool, nvswitch: bool) -> tuple[str, ...]:
        """The first one has the driver's version."""
        names = list(self.row[self.flavour]["desktop" if desktop else "packages"])
        if nvswitch:
            names += self.row["nvswitch"]
        return package_names.filled(names, branch=self.branch, kernels=self.kernels)

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
    found = _first(question)
    if found is None:
        return Refusal(refusal=driver_objections.why_none(question), instead=_instead(question))
    return driver_objections.of_the_box(question, found.modules) or found


def why_branch(question: Question, found: Choice) -> str:
    """Why this branch and not another, in a sentence."""
    cards = named(question.cards)
    if question.driver and question.driver.branch:
        return f"Driver.branch asks for it, and it drives {cards}"
    row = branches.known()[found.branch]
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
    return f"the {row['kind']} branch of {place(question.system, found.source)} drives {cards}"


def why_flavour(question: Question, found: Choice) -> str:
    """Why these kernel modules, in a sentence."""
    if question.driver and question.driver.flavour:
        return "Driver.flavour asks for it, and every card runs it"
    if question.unknown:
        return "the archive's packages name the card for these modules"
    if found.flavour == "open":
        return "every card is a Turing or newer: the kind NVIDIA goes on with"
    unable = [card for card in question.known if "open" not in limits.of(card).flavours]
    if unable:
        return f"{named(unable)} cannot run the open ones"
    return f"{place(question.system, found.source)} has no open ones for {found.branch}"


def _first(question: Question) -> Choice | None:
    return next(_possible(question), None)


def _possible(question: Question) -> Iterator[Choice]:
    settings, source = question.driver, question.driver_source
    if settings is None or len(question.system) == 0:
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
    return all(limits.of(card).drives(branch) for card in question.known)


def _runs(question: Question, branch: str, flavour: str) -> bool:
    if flavour not in branches.known()[branch]["flavours"]:
        return False
    if not all(flavour in limits.of(card).flavours for card in question.known):
        return False
    return all(
        driver_objections.may_run(question, card, branch, flavour) for card in question.unknown
    )


def _with_modules(question: Question, branch: str, flavour: str) -> Choice | None:
    """The choice with the archive's own modules where it builds them for the box's kernels."""
    settings, system, source = question.driver, question.system, question.driver_source
    kernels = module_choice.prebuilt_for(system, question.graphics)
    for modules in ("prebuilt", "dkms"):
        row = package_names.driver_set(system, source, branch, modules)
        if row is None or flavour not in row or (modules == "prebuilt" and not kernels):
            continue
        found = Choice(
            branch=branch, flavour=flavour, source=source, modules=modules, row=row,
            kernels=kernels,
        )  # fmt: skip
        desktop = bool(settings and settings.desktop == "keep")
        switch = question.graphics.nvswitch
        if switch and not row["nvswitch"]:
            continue
        names = found.packages(desktop=desktop, nvswitch=switch)
        there = offers.has(question.graphics, system, source, names)
        right = offers.has_version(question.graphics, system, source, names[0], f"{branch}.*")
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
            found = _first(replace(question, driver=nearest))
            if found:
                return _settings(question, found)
    if driver_objections.together(question):
        return "take one of them out of the box."
    if question.unknown:
        return (
            f"{_both_named(question, settings)}Rig(driver=None) and a driver that you choose; "
            "please report the id."
        )
    if not question.branches("nvidia"):
        return "Rig(driver=None) and a driver that you install."
    return f"Rig(driver=None): deeprig knows no driver for it on {called(question.system)}."


def _both_named(question: Question, settings: Driver) -> str:
    """The first branch and flavour there that an unknown card may be given by hand."""
    for branch in question.branches():
        for flavour in PREFERRED:
            named_both = replace(settings, branch=branch, flavour=flavour)
            if found := _first(replace(question, driver=named_both)):
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
