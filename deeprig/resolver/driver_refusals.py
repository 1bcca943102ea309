"""Why a box gets no driver, or not this one: its cards, its settings, the box itself."""

from deeprig import catalog
from deeprig.catalog import branches, gpu_limits, tables
from deeprig.catalog.gpus import Gpu, product
from deeprig.resolver import apt_index
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import Question, called, listed, named, place


def why_none(question: Question) -> str:
    """The first thing that keeps every driver from these cards."""
    return (
        _product(question)
        or _no_source(question)
        or _too_old(question)
        or _unknown(question)
        or together(question)
        or _branch(question)
        or _cards(question)
        or _flavour(question)
        or _index(question)
    )


def may_run(question: Question, card: Gpu, branch: str, flavour: str) -> bool:
    """Whether an unknown card may get this driver: somebody says so, or the archive's packages."""
    settings = question.driver
    if settings and settings.branch and settings.flavour:
        return True
    if question.driver_source != "distro":
        return False
    return (branch, flavour) in apt_index.named_by_archive(question.graphics, card)


def together(question: Question) -> str:
    """Cards that no one kernel module drives."""
    old = [card for card in question.known if "open" not in gpu_limits.of(card).flavours]
    new = [card for card in question.known if "proprietary" not in gpu_limits.of(card).flavours]
    if not (old and new):
        return ""
    return (
        f"{named(old)} runs with the proprietary modules only and {named(new)} with the open ones, "
        "and a box loads one of them."
    )


def of_the_box(question: Question, modules: str, signed: str) -> Refusal | None:
    """What the box itself has against a driver whose modules come so; `signed` names the settings
    with which they would come signed, if any.
    """
    return _desktop(question) or _kernel(question) or _secure_boot(question, modules, signed)


def _product(question: Question) -> str:
    """A GPU that is no board of ours."""
    found = ((card, product(card)) for card in question.cards)
    return next((f"{card} {row['is']}." for card, row in found if row), "")


def _no_source(question: Question) -> str:
    if question.branches():
        return ""
    where = place(question.system, question.driver_source)
    return f"deeprig knows no driver in {where}{question.unusual}."


def _too_old(question: Question) -> str:
    """A card that no branch of the table drives."""
    where = place(question.system, question.driver_source)
    card = next(filter(is_too_old, question.cards), None)
    if card is None:
        return ""
    border = gpu_limits.of(card).driver_border(question.branches()[0])
    return f"{card} {border}, and {where} has {listed(sorted(question.branches()))}."


def is_too_old(card: Gpu) -> bool:
    """Whether no branch of the table drives it."""
    return card.is_known and not any(
        gpu_limits.of(card).drives(branch) for branch in branches.known()
    )


def _unknown(question: Question) -> str:
    settings = question.driver
    ids = [card.id for card in question.unknown]
    if not ids or (settings and settings.branch and settings.flavour):
        return ""
    asked = question.driver_source == "distro" and question.system.startswith("ubuntu-")
    if asked and all(
        apt_index.named_by_archive(question.graphics, card) for card in question.unknown
    ):
        return ""
    return (
        f"{listed(ids)} {'is' if len(ids) == 1 else 'are'} in no table that deeprig has"
        f"{', and no package of the archive names it' if asked else ''}, so which driver it needs "
        "is not known."
    )


def _branch(question: Question) -> str:
    asked = question.driver and question.driver.branch
    if not asked:
        return ""
    there = question.branches()
    for card in question.known:
        border = gpu_limits.of(card).driver_border(asked)
        if border:
            return f"{card} {border}, and Driver.branch is {asked!r}."
    if asked not in there and asked in apt_index.new_branches(question.graphics):
        return (
            f"{tables.unknown(f'driver {asked}')} Driver.branch asks for it, and no package of it "
            f"says that it drives {named(question.cards)}."
        )
    if asked not in there:
        has = listed(sorted(there))
        where = place(question.system, question.driver_source)
        return f"Driver.branch is {asked!r}, and {where} has {has}."
    return ""


def _cards(question: Question) -> str:
    there = question.branches()
    where = place(question.system, question.driver_source)
    for card in question.known:
        borders = [gpu_limits.of(card).driver_border(branch) for branch in there]
        if all(borders):
            return f"{card} {borders[0]}, and {where} has {listed(sorted(there))}."
    return ""


def _flavour(question: Question) -> str:
    asked = question.driver and question.driver.flavour
    if not asked:
        return ""
    unable = [card for card in question.known if asked not in gpu_limits.of(card).flavours]
    if unable:
        return f"Driver.flavour is {asked!r}, which {named(unable)} cannot run."
    where = place(question.system, question.driver_source)
    branch = question.driver and question.driver.branch
    which = f"driver {branch}" if branch else "a driver that goes with these cards"
    return f"Driver.flavour is {asked!r}, and {where} has no {asked} modules of {which}."


def _index(question: Question) -> str:
    where = place(question.system, question.driver_source)
    there = " or ".join(question.branches())
    if question.subnet_manager:
        return (
            f"{named(question.cards)} has NVLink 5, and deeprig knows no nvlsm for it in {where}."
        )
    if question.switches:
        return f"The box has an NVSwitch, and {where} has no fabric manager for it."
    cards = named(question.cards)
    return f"The index of {where} has none of the drivers that {cards} needs: {there}."


def _desktop(question: Question) -> Refusal | None:
    if not question.graphics.desktop or (question.driver and question.driver.desktop):
        return None
    return Refusal(
        refusal=f"The box has a desktop ({question.graphics.desktop}), which a driver for "
        "computing alone would leave without a picture.",
        instead='Driver(desktop="keep") for the full driver, or Driver(desktop="off") to have the '
        "box start without it.",
    )


def _kernel(question: Question) -> Refusal | None:
    if question.graphics.kernels != ():
        return None
    ubuntu = question.system.startswith("ubuntu-")
    package = "linux-image-generic" if ubuntu else f"linux-image-{question.architecture}"
    return Refusal(
        refusal="No kernel is installed in it, so there is nothing to have modules for.",
        instead=f"install one, such as {package}, or Rig(driver=None): a container has its host's "
        "driver.",
    )


def _secure_boot(question: Question, modules: str, signed: str) -> Refusal | None:
    graphics = question.graphics
    if not graphics.secure_boot or graphics.module_key_enrolled or modules == "prebuilt":
        return None
    rows = catalog.load("driver_packages")["module_key"]
    key = next((row for row in rows if question.system in row["systems"]), None)
    ways = [f"{signed}, whose modules are signed"] if signed else []
    if key:
        ways.append(
            f"enrol the key, once: `{key['make']}`, `sudo mokutil --import {key['file']}` with a "
            "password, reboot, and at the console Enroll MOK, Continue, Yes, the password"
        )
    ways.append("turn Secure Boot off in the firmware's setup")
    return Refusal(
        refusal="Secure Boot is on, and its firmware does not know the key that signs modules "
        f"built on the box: on {called(question.system)} they would not load.",
        instead="; or ".join(ways) + ".",
    )
