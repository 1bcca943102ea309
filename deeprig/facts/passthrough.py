"""Which PCI devices a guest gets, and what one should know of that."""

from deeprig.catalog.gpus import identify
from deeprig.facts.pci import OURS, Bus, PciDevice
from deeprig.facts.survey import Survey
from deeprig.settings import Rig
from deeprig.settings.passthrough import Passthrough


def devices(bus: Bus, settings: Passthrough) -> tuple[PciDevice, ...]:
    """Every function that goes: those of each card, and what is accepted of their groups."""
    slots = {address.partition(".")[0] for address in settings.gpus}
    groups = {d.group for slot in slots for d in bus.functions(slot) if d.group}
    return tuple(
        device
        for device in bus.devices
        if not device.is_bridge
        and (device.slot in slots or (device.group in groups and device.address in settings.accept))
    )


def remarks(survey: Survey, rig: Rig) -> list[str]:
    """What is given, by whom it is held now, and what it may cost; at every plan."""
    settings, bus = rig.passthrough, survey.bus
    if settings is None or not bus.known:
        return []
    going = devices(bus, settings)
    sentences = [_page_line(bus)]
    for device in going:
        where = f"{device}{_name(device)}{_group(bus, device)}"
        sentences.append(f"passthrough: {where}; {_state(device, settings)}")
    cards = [device for device in going if device.is_graphics]
    twins = [d for d in bus.devices if d.id in {c.id for c in cards} and d not in going]
    sentences += [f"passthrough: {twin} is of the same model and stays" for twin in twins]
    if bus.has_groups and len(survey.graphics.gpus) > 1:
        sentences.append(
            "passthrough: an IOMMU, and PCIe switches with ACS, can make NCCL between the "
            f"{len(survey.graphics.gpus)} cards that stay slow, or hang it; measure with "
            "nccl-tests before and after (docs/passthrough.md)"
        )
    if not bus.has_groups:
        sentences.append(
            "passthrough: the kernel does not use the IOMMU yet; this deploy asks for it, then "
            "reboot and deploy again: only then it is known which devices go together"
        )
    return sentences


def _page_line(bus: Bus) -> str:
    groups = len({device.group for device in bus.devices if device.group})
    return (
        f"passthrough: virtualisation {bus.virtualisation or 'none'}, IOMMU in the firmware "
        f"{bus.dma_table or 'none'}, IOMMU groups in the kernel {groups}"
    )


def _name(device: PciDevice) -> str:
    return f" {identify(device.id).name}".rstrip() if device.is_graphics else ""


def _group(bus: Bus, device: PciDevice) -> str:
    others = [other.address for other in bus.group(device.group) if other != device]
    with_them = f" with {', '.join(others)}" if others else " alone"
    return f", IOMMU group {device.group}{with_them}" if device.group else ""


def _state(device: PciDevice, settings: Passthrough) -> str:
    if device.driver == OURS:
        return "vfio-pci has it"
    idle = "as soon as nothing uses it, at the latest " if settings.hand_over == "when-idle" else ""
    return f"{device.driver or 'no driver'} has it now, vfio-pci {idle}from the next boot on"


def window_mib(going: tuple[PciDevice, ...]) -> int:
    """MiB above 4 GiB that a guest's firmware must keep free: twice what is asked, rounded up."""
    total = 2 * sum(device.window for device in going)
    return 1 << (total - 1).bit_length() if total else 0
