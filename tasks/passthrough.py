"""GPU passthrough: chosen cards are vfio-pci's from the next boot on, and a guest gets them."""

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.facts import boot_line, passthrough
from deeprig.facts.pci import Bus
from deeprig.operations import files
from deeprig.operations.box_program import BOX, SCRIPTS
from deeprig.operations.core import Commands
from deeprig.settings.passthrough import Passthrough
from tasks import guest, kernel_parameters

BIND = f"{SCRIPTS}/passthrough-bind"
LIST = "/etc/deeprig/passthrough.list"
HOOK = "/etc/initramfs-tools/hooks/deeprig-passthrough"
BEFORE_UDEV = "/etc/initramfs-tools/scripts/init-top/deeprig-passthrough"
NOW = f"{BOX} passthrough-now"
# While it is there, cards change hands as soon as nothing uses them, and else at a boot.
WHEN_IDLE = "/etc/deeprig/passthrough-when-idle"
UNIT = "deeprig-passthrough.service"
IDLE = '# Written by deeprig (tasks/passthrough.py): Passthrough(hand_over="when-idle").'
GRUB = "/etc/default/grub.d/50-deeprig-passthrough.cfg"


@deploy("Passthrough")
def give(settings: Passthrough, bus: Bus) -> None:
    """The cards' whole IOMMU groups for vfio-pci from the next boot on, and a guest with them."""
    # Without groups nobody knows what goes together: the IOMMU comes first, with a boot.
    going = passthrough.devices(bus, settings) if bus.has_groups else ()
    for script in (HOOK, BEFORE_UDEV):
        files.copy(script, mode="755")
    files.units(UNIT)
    files.write(LIST, devices=going)
    files.write(GRUB, parameters=" ".join(boot_line.iommu(bus)))
    _have_the_boot_know()
    operations.enable(name="Give the cards away at every boot", unit=UNIT, start=False)
    if settings.hand_over == "when-idle":
        files.put(name=f"Write {WHEN_IDLE}", dest=WHEN_IDLE, content=IDLE)
        operations.converge(name="Have idle cards change hands now", command=NOW)
    else:
        files.remove(name=f"No {WHEN_IDLE}", path=WHEN_IDLE)
    if settings.guest and going:
        guest.provide(guest=settings.guest, going=going)
    elif bus.guest_there and not settings.guest:
        guest.rest()
        files.remove(name=f"No {guest.ASKED}", path=guest.ASKED)
    _say_what_is_next(name="Say what comes after the reboot", groups=bus.has_groups)


@deploy("Passthrough")
def take_back(bus: Bus) -> None:
    """Everything back with the box from the next boot on; the guest stays defined, and stopped."""
    if not bus.was_in:
        return
    if bus.guest_there:
        guest.rest()
    files.write(LIST, devices=())
    operations.converge(
        name="Have idle cards come back now, where they went so",
        command=NOW,
    )
    files.remove(name=f"No {GRUB}", path=GRUB)
    _have_the_boot_know()
    operations.shell(
        name="Give no card away at boot",
        unless=f"systemctl is-enabled -q {UNIT} || echo off",
        commands=[f"systemctl disable {UNIT}"],
    )
    # The list at the end: as long as it is there, the next run goes on with this.
    for path in (HOOK, BEFORE_UDEV, f"/etc/systemd/system/{UNIT}", WHEN_IDLE, *guest.FILES, LIST):
        files.remove(name=f"No {path}", path=path)


def record(settings: Passthrough | None, bus: Bus) -> list[str] | None:
    """What the manifest keeps of the cards that are given away."""
    if settings is None:
        return None
    return [f"{device.address} {device.id}" for device in passthrough.devices(bus, settings)]


def _have_the_boot_know() -> None:
    operations.shell(
        name="Have the initramfs know the list",
        unless=initramfs_knows(),
        commands=["update-initramfs -u -k all"],
    )
    kernel_parameters.have_grub_follow()


def initramfs_knows() -> str:
    """Prints a line where no initramfs is older than what it has of ours."""
    return (
        "command -v update-initramfs >/dev/null || { echo 'no initramfs-tools here'; exit; }; "
        f"for f in {LIST} {BIND} {HOOK} {BEFORE_UDEV}; do for i in /boot/initrd.img-*; do "
        "[ ! -e $i ] || [ ! -e $f ] || [ $i -nt $f ] || exit 1; done; done; echo newer"
    )


@operation()
def _say_what_is_next(groups: bool) -> Commands:
    """That a card waits for a boot is said where reboots are (tasks/reboot.py)."""
    if host.state.is_executing and not groups:
        operations.say(host, "The IOMMU is on after a reboot; deploy again then.")
    host.noop("vfio-pci gets them at a boot" if groups else "the IOMMU comes first")
    yield from ()
