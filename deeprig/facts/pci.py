"""A box's PCI devices: which IOMMU group each is in, who drives it, what the box needs it for."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.settings.passthrough import Passthrough

SCRIPT = (Path(__file__).parent / "pci.sh").read_text()

# Host bridges and PCI bridges, which stay while a group goes; any other bridge is a device.
BRIDGES = ("0600", "0604")
STORAGE = "01"
# VGA, 3D controller, another display device, a processing accelerator.
GRAPHICS = ("0300", "0302", "0380", "1200")
KINDS = {"01": "storage", "02": "network", "03": "display", "0403": "sound", "0c03": "USB"}
OURS = "vfio-pci"

_class = untrusted.parser("class of a PCI device", "[0-9a-f]{6}", 6)
_driver = untrusted.parser("driver of a PCI device", r"[\w-]+", 60)
_group = untrusted.parser("IOMMU group", r"\d{1,9}|-", 9)
_virtualisation = untrusted.parser("way of virtualisation", "(vmx|svm)?", 3)
_table = untrusted.parser("table of an IOMMU", "(DMAR|IVRS)?", 4)


@dataclass(frozen=True, kw_only=True)
class PciDevice:
    """One function of a device: `id` is vendor:device, `group` its IOMMU group, "" for none.

    `driver` is who holds it now, "" for nobody; `window` is MiB of memory above 4 GiB that it asks
    a guest for; `console` whether the firmware showed itself on it.
    """

    address: str
    id: str
    pci_class: str
    driver: str = ""
    group: str = ""
    console: bool = False
    window: int = 0

    @property
    def slot(self) -> str:
        """The address without the function: what is one card."""
        return self.address.partition(".")[0]

    @property
    def is_graphics(self) -> bool:
        return self.pci_class[:4] in GRAPHICS

    @property
    def is_bridge(self) -> bool:
        return self.pci_class[:4] in BRIDGES

    def __str__(self) -> str:
        kind = KINDS.get(self.pci_class[:4]) or KINDS.get(self.pci_class[:2], "device")
        return f"{self.address} ({kind} {self.id})"


@dataclass(frozen=True, kw_only=True)
class Bus:
    """All that decides who may have which device; `known` is False where nobody asked.

    `given` is what an earlier deploy recorded, address -> id, `was_in` whether there was one;
    `guest_there` whether it made a guest; `initramfs_tools` whether those make the initramfs;
    `system_disks` and `network_cards` are addresses, those of the bridges above them too.
    """

    known: bool = False
    devices: tuple[PciDevice, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    was_in: bool = False
    guest_there: bool = False
    initramfs_tools: bool = False
    virtualisation: str = ""
    dma_table: str = ""
    kernel_line: str = ""
    processors: int = 0
    memory_mib: int = 0
    system_disks: tuple[str, ...] = ()
    network_cards: tuple[str, ...] = ()

    def device(self, address: str) -> PciDevice | None:
        return next((device for device in self.devices if device.address == address), None)

    def group(self, number: str) -> tuple[PciDevice, ...]:
        """The devices of a group, without the bridges above them."""
        members = (d for d in self.devices if number and d.group == number)
        return tuple(device for device in members if not device.is_bridge)

    def functions(self, slot: str) -> tuple[PciDevice, ...]:
        return tuple(device for device in self.devices if device.slot == slot)

    @property
    def has_groups(self) -> bool:
        """Whether the kernel uses the IOMMU."""
        return any(device.group for device in self.devices)

    def holds_the_system(self, device: PciDevice) -> bool:
        """Whether the box's own file systems are on it; any storage may, where nobody can tell."""
        if not self.system_disks:
            return device.pci_class.startswith(STORAGE)
        return device.address in self.system_disks


def variables(settings: Passthrough | None) -> str:
    """What SCRIPT, and the one about graphics cards, are told of the settings."""
    slots = " ".join(address.partition(".")[0] for address in settings.gpus) if settings else ""
    return f"PASSTHROUGH={shlex.quote('yes' if settings else '')} GIVEN={shlex.quote(slots)}"


def read(found: dict[str, list[str]]) -> Bus:
    """The bus in what SCRIPT printed, key to values. Raises NotSo."""

    def one(key: str) -> str:
        return found.get(key, [""])[0]

    return Bus(
        known=bool(one("pci_asked")),
        devices=tuple(_devices(found.get("pci", []))),
        given=tuple(map(_given, found.get("given", []))),
        was_in=bool(one("passthrough_was_in")),
        guest_there=bool(one("guest_there")),
        initramfs_tools=bool(one("initramfs_tools")),
        virtualisation=_virtualisation(one("virtualisation")),
        dma_table=_table(one("dma_table")),
        kernel_line=untrusted.words(one("kernel_line"), 4096),
        processors=untrusted.number(one("processors") or "0"),
        memory_mib=untrusted.number(one("memory_mib") or "0"),
        system_disks=tuple(map(untrusted.pci_address, found.get("system_disk", []))),
        network_cards=tuple(map(untrusted.pci_address, found.get("network_card", []))),
    )


def _devices(lines: Iterable[str]) -> Iterable[PciDevice]:
    for line in lines:
        words = line.split()
        if len(words) != 7:
            raise NotSo(f"{line[:80]!r} is no PCI device")
        address, pci_id, pci_class, driver, group, console, window = words
        yield PciDevice(
            address=untrusted.pci_address(address),
            id=untrusted.pci_id(pci_id),
            pci_class=_class(pci_class),
            driver=_driver(driver).strip("-"),
            group=_group(group).strip("-"),
            console=console == "1",
            window=untrusted.number(window),
        )


def _given(line: str) -> tuple[str, str]:
    address, _, pci_id = line.partition(" ")
    return untrusted.pci_address(address), untrusted.pci_id(pci_id)
