"""What stands in the way of giving cards to a guest."""

from deeprig.facts import boot_line
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.pci import Bus, PciDevice
from deeprig.facts.survey import Survey
from deeprig.settings import Rig
from deeprig.settings.passthrough import Passthrough

OFF = "or set passthrough=None"
IOMMU = {"vmx": "VT-d", "svm": "AMD-Vi (IOMMU)"}
VIRTUALISATION = "VT-x or SVM (AMD-V)"


def objections(survey: Survey, rig: Rig) -> list[str]:
    """Why the cards cannot be given to a guest, one sentence each with the way out."""
    settings, bus = rig.passthrough, survey.bus
    if settings is None:
        return []
    if not bus.known:
        return [
            "It is a container, whose PCI devices are its host's; set passthrough=None here, and "
            "give cards away on the host."
        ]
    if not survey.grub:
        return [
            "It has no GRUB, through whose settings alone kernel parameters are set; ask for the "
            f"IOMMU in its own boot loader and give the cards away by hand, {OFF}."
        ]
    if not bus.initramfs_tools:
        return [
            "Its initramfs is not made by initramfs-tools, by whose hooks alone deeprig gives "
            "cards away before their own drivers load; install initramfs-tools in dracut's place, "
            f"{OFF}."
        ]
    if sentences := _machine(bus) or [s for a in settings.gpus for s in _card(bus, a, settings)]:
        return sentences
    if sentences := _picture(survey, rig):
        return sentences
    return [*_strangers(bus, settings), *_last(survey.graphics, rig), *_guest(bus, settings)]


def _machine(bus: Bus) -> list[str]:
    if not bus.virtualisation:
        return [
            "Its processor offers no virtualisation to the kernel (neither vmx nor svm); switch "
            f"{VIRTUALISATION} on in the firmware's setup, {OFF}."
        ]
    if not bus.dma_table:
        return [
            "Its firmware offers no IOMMU (no ACPI table DMAR or IVRS), and without one a guest "
            f"cannot have a card; switch {IOMMU[bus.virtualisation]} on in the firmware's setup, "
            f"{OFF}."
        ]
    if not bus.has_groups and boot_line.holds(bus.kernel_line, boot_line.iommu(bus)):
        return [
            "Its kernel was started with the IOMMU asked for and uses none; `sudo dmesg | grep -iE "
            f"'dmar|amd-vi'` says why, look for a newer firmware, {OFF}."
        ]
    return []


def _card(bus: Bus, address: str, settings: Passthrough) -> list[str]:
    """What is wrong with one address of `Passthrough.gpus`."""
    device = bus.device(address)
    cards = ", ".join(map(str, (d for d in bus.devices if d.is_graphics))) or "none"
    if device is None:
        moved = _where_it_is(bus, dict(bus.given).get(address, ""), address)
        return [
            f"Passthrough.gpus names {address}, and there is no device; {moved}its graphics cards "
            f"are: {cards}."
        ]
    was = dict(bus.given).get(address, device.id)
    if was != device.id:
        return [
            f"Passthrough.gpus names {address}, where {was} was and {device.id} is now; "
            f"{_where_it_is(bus, was, address)}name the card's new address, or, if {device.id} is "
            "meant, deploy once with absent={'passthrough'}."
        ]
    if not device.is_graphics and not (bus.holds_the_system(device) or _is_network(bus, device)):
        return [
            f"Passthrough.gpus names {device}, which is no graphics card; its graphics cards are: "
            f"{cards}."
        ]
    if device.console and "console-gpu" not in settings.accept:
        return [
            f"{device} is the card that the box's firmware and console show themselves on; move "
            'the cable and the firmware\'s choice to another one, or say accept=("console-gpu",) '
            "if you need no screen there."
        ]
    return []


def _picture(survey: Survey, rig: Rig) -> list[str]:
    """That the firmware's picture would keep the console's card: vfio-pci takes it since 6.0.

    https://lkml.iu.edu/hypermail/linux/kernel/2206.0/05339.html
    """
    booted_with, parameters = survey.bus.kernel_line.split(), rig.kernel_parameters
    named = {word for word in (*booted_with, *parameters) if word.startswith("initcall_blacklist=")}
    if any("sysfb_init" in word.partition("=")[2].split(",") for word in named):
        return []
    major = {kernel: kernel.partition(".")[0] for kernel in survey.graphics.kernels or ()}
    old = [kernel for kernel, number in major.items() if number.isdigit() and int(number) < 6]
    return [
        f"{device} is the console's, and kernel {kernel} leaves its memory to the firmware's "
        'picture, so that a guest cannot have it; add Rig(kernel_parameters=("initcall_blacklist='
        'sysfb_init",)), or boot a kernel of 6.0 or later and take this one out.'
        for kernel in old[:1]
        for address in (rig.passthrough.gpus if rig.passthrough else ())
        if (device := survey.bus.device(address)) and device.console
    ]


def _where_it_is(bus: Bus, pci_id: str, not_at: str) -> str:
    places = [d.address for d in bus.devices if pci_id == d.id and d.address != not_at]
    return f"{pci_id} is at {', '.join(places)} now; " if places else ""


def _strangers(bus: Bus, settings: Passthrough) -> list[str]:
    """What would go with the cards because no wall is between them, and what must never go."""
    slots = {address.partition(".")[0] for address in settings.gpus}
    cards = [device for slot in sorted(slots) for device in bus.functions(slot)]
    sentences = []
    for device in {d.address: d for c in cards for d in (c, *bus.group(c.group))}.values():
        card = next(c for c in cards if c.slot == device.slot or c.group == device.group)
        where = "is named" if device in cards else f"is in IOMMU group {card.group} with {card}"
        if bus.holds_the_system(device):
            sentences.append(
                f"{device} {where}, and the box's own file systems are on it, so the box would not "
                "boot; move the card to another slot."
            )
        elif device.address in settings.accept:
            continue
        elif _is_network(bus, device):
            sentences.append(
                f"{device} {where}, and the box's network goes through it; move the card to "
                f'another slot, or say accept=("{device.address}",) if there is another way in.'
            )
        elif device not in cards:
            sentences.append(
                f"{device} {where}, and would go to the guest with it; move the card to another "
                f'slot, or say accept=("{device.address}",) if it may go.'
            )
    return sentences


def _is_network(bus: Bus, device: PciDevice) -> bool:
    return device.address in bus.network_cards


def _last(graphics: GpuFacts, rig: Rig) -> list[str]:
    frameworks = rig.python.frameworks if rig.python else ()
    needed = [name for name, on in (("driver", rig.driver), ("cuda", rig.cuda)) if on]
    accepted = rig.passthrough and "last-gpu" in rig.passthrough.accept
    if not graphics.passed_through or graphics.gpus or accepted or not (needed or frameworks):
        return []
    return [
        "Passthrough.gpus takes the box's last NVIDIA card, and the settings have the box itself "
        'compute; leave one, set driver=None and cuda=None, or say accept=("last-gpu",).'
    ]


def _guest(bus: Bus, settings: Passthrough) -> list[str]:
    guest = settings.guest
    if guest is None:
        return []
    sentences = []
    if guest.memory_mib >= bus.memory_mib:
        sentences.append(
            f"Guest.memory_mib is {guest.memory_mib} and the box has {bus.memory_mib}, which a "
            "guest with a card takes whole; give it less."
        )
    if wrong := [number for number in guest.pin if not 0 <= number < bus.processors]:
        sentences.append(
            f"Guest.pin names processor {wrong[0]}; the box has 0 to {bus.processors - 1}."
        )
    return sentences
