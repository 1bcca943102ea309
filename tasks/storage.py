"""Disks by UUID, swap, trim, SMART and the root volume; the folder on them is data_folder's."""

import shlex

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.facts import disks
from deeprig.facts.disks import Disks
from deeprig.facts.survey import Survey
from deeprig.operations import files, packages
from deeprig.operations.box_program import BOX, SCRIPTS
from deeprig.settings import Disk, Storage

ARRAY_TIMER = "deeprig-array.timer"
SWAP_UNIT = "swap.deeprig.swap"
SWAPPINESS = "/etc/sysctl.d/50-deeprig-swap.conf"


@deploy("Storage")
def provide(settings: Storage, survey: Survey) -> None:
    """Data disks where the settings want them, and what keeps the box's own disks well."""
    if survey.container:
        if settings.disks or settings.swap_gib or settings.grow_root:
            operations.say(host, "A container has no disks, swap or root volume of its own.")
        return
    names = catalog.load("packages")
    raid = any(disk.raid for disk in settings.disks)
    packages.install(
        name="Install what disks need",
        packages=[*names["disks"], *(names["arrays"] if raid else [])],
    )
    operations.enable(name="Tell SSDs every week what is free", unit="fstrim.timer")
    if survey.disks.can_say_how_they_are:
        operations.enable(name="Watch the disks' health", unit="smartmontools.service")
    if raid:
        files.units("deeprig-array.service", ARRAY_TIMER)
        operations.enable(name="Start an array also without one of its disks", unit=ARRAY_TIMER)
    for disk in settings.disks:
        _mount(disk, survey.disks)
    if settings.swap_gib:
        _swap(settings.swap_gib)
    if settings.grow_root:
        _grow(survey.disks.root_volume)


def _mount(disk: Disk, there: Disks) -> None:
    words = ["--at", disk.at, "--uuid", disks.uuid_of(disk, there)]
    words += [word for serial in disk.serials for word in ("--serial", serial)]
    words += ["--raid", str(disk.raid)] if disk.raid else []
    operations.converge(
        name=f"Have the data disk at {disk.at}",
        command=f"{BOX} data-disk",
        arguments=shlex.join(words),
    )


def _swap(gib: int) -> None:
    files.units(SWAP_UNIT)
    operations.shell(
        name=f"Have a swap file of {gib} GiB",
        unless=f"{SCRIPTS}/swap-file --check {gib}",
        commands=[f"{SCRIPTS}/swap-file {gib}"],
    )
    operations.enable(name="Swap at boot", unit=SWAP_UNIT)
    files.copy(SWAPPINESS)
    operations.shell(
        name="Swap only when it must be",
        unless="[ $(cat /proc/sys/vm/swappiness) = 10 ] && echo 10",
        commands=[f"sysctl -q -p {SWAPPINESS}"],
    )


def _grow(volume: str) -> None:
    """In two steps, each asked of the volume itself: a power cut may fall between them."""
    named = shlex.quote(volume)
    operations.shell(
        name="Give the root volume what is free",
        unless=f"{SCRIPTS}/grow-root --check {named}",
        commands=[f"{SCRIPTS}/grow-root {named}"],
    )
