"""Why a box gets no driver, or not this one: its cards, its settings, the box itself."""

from deeprig import catalog
from deeprig.catalog import branches, gpu_limits, tables
from deeprig.catalog.gpus import Gpu, product
from deeprig.resolver import apt_index
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import Request, join_cards, source_title, system_title
from deeprig.ui.words import join_words


def why_none(request: Request) -> str:
    """The first thing that keeps every driver from these cards."""
    return (
        _product(request)
        or _no_source(request)
        or _too_old(request)
        or _unknown(request)
        or together(request)
        or _branch(request)
        or _cards(request)
        or _flavour(request)
        or _index(request)
    )


def may_run(request: Request, card: Gpu, branch: str, flavour: str) -> bool:
    """Whether an unknown card may get this driver: somebody says so, or the archive's packages."""
    settings = request.driver
    if settings and settings.branch and settings.flavour:
        return True
    if request.driver_source != "distro":
        return False
    return (branch, flavour) in apt_index.named_by_archive(request.graphics, card)


def no_one_module(request: Request) -> tuple[list[Gpu], list[Gpu]] | None:
    """Cards that no one kernel module drives: those of the proprietary ones, those of the open."""
    old = [card for card in request.known if "open" not in gpu_limits.of(card).flavours]
    new = [card for card in request.known if "proprietary" not in gpu_limits.of(card).flavours]
    return (old, new) if old and new else None


def together(request: Request) -> str:
    """The same in a sentence."""
    if (pair := no_one_module(request)) is None:
        return ""
    old, new = pair
    return (
        f"{join_cards(old)} runs with the proprietary modules only and {join_cards(new)} with the "
        "open ones, and a box loads one of them."
    )


def of_the_box(request: Request, modules: str, signed: str) -> Refusal | None:
    """What the box itself has against a driver whose modules come so; `signed` names the settings
    with which they would come signed, if any.
    """
    return _desktop(request) or _kernel(request) or _secure_boot(request, modules, signed)


def _product(request: Request) -> str:
    """A GPU that is no board of ours."""
    rows = ((card, product(card)) for card in request.cards)
    return next((f"{card} {row['is']}." for card, row in rows if row), "")


def _no_source(request: Request) -> str:
    if request.branches():
        return ""
    where = source_title(request.system, request.driver_source)
    return f"deeprig knows no driver in {where}{request.unusual}."


def _too_old(request: Request) -> str:
    """A card that no branch of the table drives."""
    where = source_title(request.system, request.driver_source)
    card = next(filter(is_too_old, request.cards), None)
    if card is None:
        return ""
    border = gpu_limits.of(card).driver_border(request.branches()[0])
    return f"{card} {border}, and {where} has {join_words(sorted(request.branches()))}."


def is_too_old(card: Gpu) -> bool:
    """Whether no branch of the table drives it."""
    return card.is_known and not any(
        gpu_limits.of(card).drives(branch) for branch in branches.known()
    )


def _unknown(request: Request) -> str:
    settings = request.driver
    ids = [card.id for card in request.unknown]
    if not ids or (settings and settings.branch and settings.flavour):
        return ""
    by_archive = request.driver_source == "distro" and request.system.startswith("ubuntu-")
    if by_archive and all(
        apt_index.named_by_archive(request.graphics, card) for card in request.unknown
    ):
        return ""
    return (
        f"{join_words(ids)} {'is' if len(ids) == 1 else 'are'} in no table that deeprig has"
        f"{', and no package of the archive names it' if by_archive else ''}, so which driver it "
        "needs is not known."
    )


def _branch(request: Request) -> str:
    branch = request.driver and request.driver.branch
    if not branch:
        return ""
    branches = request.branches()
    for card in request.known:
        border = gpu_limits.of(card).driver_border(branch)
        if border:
            return f"{card} {border}, and Driver.branch is {branch!r}."
    if branch not in branches and branch in apt_index.new_branches(request.graphics):
        return (
            f"{tables.unknown(f'driver {branch}')} Driver.branch asks for it, and no package of it "
            f"says that it drives {join_cards(request.cards)}."
        )
    if branch not in branches:
        has = join_words(sorted(branches))
        where = source_title(request.system, request.driver_source)
        return f"Driver.branch is {branch!r}, and {where} has {has}."
    return ""


def _cards(request: Request) -> str:
    branches = request.branches()
    where = source_title(request.system, request.driver_source)
    for card in request.known:
        borders = [gpu_limits.of(card).driver_border(branch) for branch in branches]
        if all(borders):
            return f"{card} {borders[0]}, and {where} has {join_words(sorted(branches))}."
    return ""


def _flavour(request: Request) -> str:
    flavour = request.driver and request.driver.flavour
    if not flavour:
        return ""
    unable = [card for card in request.known if flavour not in gpu_limits.of(card).flavours]
    if unable:
        return f"Driver.flavour is {flavour!r}, which {join_cards(unable)} cannot run."
    where = source_title(request.system, request.driver_source)
    branch = request.driver and request.driver.branch
    which = f"driver {branch}" if branch else "a driver that goes with these cards"
    return f"Driver.flavour is {flavour!r}, and {where} has no {flavour} modules of {which}."


def _index(request: Request) -> str:
    where = source_title(request.system, request.driver_source)
    branches = " or ".join(request.branches())
    if request.subnet_manager:
        cards = join_cards(request.cards)
        return f"{cards} has NVLink 5, and deeprig knows no nvlsm for it in {where}."
    if request.switches:
        return f"The box has an NVSwitch, and {where} has no fabric manager for it."
    cards = join_cards(request.cards)
    return f"The index of {where} has none of the drivers that {cards} needs: {branches}."


def _desktop(request: Request) -> Refusal | None:
    if not request.graphics.desktop or (request.driver and request.driver.desktop):
        return None
    return Refusal(
        refusal=f"The box has a desktop ({request.graphics.desktop}), which a driver for "
        "computing alone would leave without a picture.",
        instead='Driver(desktop="keep") for the full driver, or Driver(desktop="off") to have the '
        "box start without it.",
    )


def _kernel(request: Request) -> Refusal | None:
    if request.graphics.kernels != ():
        return None
    ubuntu = request.system.startswith("ubuntu-")
    package = "linux-image-generic" if ubuntu else f"linux-image-{request.architecture}"
    return Refusal(
        refusal="No kernel is installed in it, so there is nothing to have modules for.",
        instead=f"install one, such as {package}, or Rig(driver=None): a container has its host's "
        "driver.",
    )


def _secure_boot(request: Request, modules: str, signed: str) -> Refusal | None:
    graphics = request.graphics
    if not graphics.secure_boot or graphics.module_key_enrolled or modules == "prebuilt":
        return None
    rows = catalog.load("driver_packages")["module_key"]
    key = next((row for row in rows if request.system in row["systems"]), None)
    ways = [f"{signed}, whose modules are signed"] if signed else []
    if key:
        ways.append(
            f"enrol the key, once: `{key['make']}`, `sudo mokutil --import {key['file']}` with a "
            "password, reboot, and at the console Enroll MOK, Continue, Yes, the password"
        )
    ways.append("turn Secure Boot off in the firmware's setup")
    return Refusal(
        refusal="Secure Boot is on, and its firmware does not know the key that signs modules "
        f"built on the box: on {system_title(request.system)} they would not load.",
        instead="; or ".join(ways) + ".",
    )
