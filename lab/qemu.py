"""QEMU's command lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.firmware import Firmware
from lab.hardware import CARDS, CROWD, SPEEDS, STAND_INS, Hardware, StandIn

Accelerator = Literal["kvm", "tcg"]

# Fixed slots, so that what is added changes no name: the card is enp0s4, the system's disk vda,
# the data disk vdb, and the ports of stand-ins come after the last disk.
CARD_SLOT, FIRST_DISK_SLOT, FIRST_PORT_SLOT = 4, 5, 16
CARD_NAME = f"enp0s{CARD_SLOT}"
EMULATOR = "qemu-system-x86_64"
NOTHING_BUT_WHAT_IS_SAID = ("-nodefaults", "-no-user-config", "-display", "none")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One VM, with the files it is made of."""

    name: str
    hardware: Hardware
    accelerator: Accelerator
    firmware: Firmware
    variables: Path
    disks: tuple[Path, ...]
    console: Path
    monitor: Path
    cable: str
    mac: str


def processor(accelerator: Accelerator) -> list[str]:
    """How the guest's processor is done.

    Without KVM: one thread for all of them, since with more Debian 13's kernel stops in early boot;
    page tables of four levels, since each level costs time at every miss.
    """
    if accelerator == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=single", "-cpu", "max,la57=off"]


def direct_boot(
    kernel: Path,
    initramfs: Path,
    *,
    append: str,
    accelerator: Accelerator = "tcg",
    drive: Path | None = None,
) -> list[str]:
    """A kernel without a boot loader, which must end by itself; it talks on stdout."""
    disk = f"file={drive},if=virtio,format=raw,cache=unsafe"
    return [
        EMULATOR,
        *processor(accelerator),
        *("-machine", "q35", "-m", "1024", *NOTHING_BUT_WHAT_IS_SAID, "-no-reboot"),
        *("-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", append),
        *(["-drive", disk] if drive else []),
    ]


def command(machine: Machine) -> list[str]:
    """A whole machine, which boots by itself and ends when it is switched off."""
    hardware = machine.hardware
    return [
        *(EMULATOR, "-name", machine.name, *processor(machine.accelerator)),
        *("-m", str(hardware.memory), "-smp", str(hardware.processors)),
        *NOTHING_BUT_WHAT_IS_SAID,
        *_board(machine),
        *("-chardev", f"file,id=console,path={machine.console},append=on"),
        *("-serial", "chardev:console"),
        *("-qmp", f"unix:{machine.monitor},server=on,wait=off"),
        *_card(machine),
        *_disks(machine.disks),
        *_ports([StandIn.parse(device) for device in hardware.pci]),
    ]


def _board(machine: Machine) -> list[str]:
    """The board and its firmware; the IOMMU first, since it serves the devices after it."""
    options = ["q35"]
    more: list[str] = []
    if machine.hardware.secure_boot:  # only the firmware may write its variables then
        options.append("smm=on")
        more += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    if machine.hardware.iommu:
        options.append("kernel-irqchip=split")
        more += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    flash = "if=pflash,format=raw"
    return [
        *("-machine", ",".join(options), *more),
        *("-drive", f"{flash},unit=0,readonly=on,file={machine.firmware.code}"),
        *("-drive", f"{flash},unit=1,file={machine.variables}"),
    ]


def _card(machine: Machine) -> list[str]:
    cable = f"tap,id=lan,ifname={machine.cable},script=no,downscript=no"
    card = f"{CARDS[machine.hardware.nic]},netdev=lan,mac={machine.mac},addr={CARD_SLOT},romfile="
    return ["-netdev", cable, "-device", card]


def _disks(files: tuple[Path, ...]) -> list[str]:
    """Each flushes when the machine says so: what a power cut loses is what it would lose."""
    words: list[str] = []
    for number, file in enumerate(files):
        kind = file.suffix.removeprefix(".")
        place = f"addr={FIRST_DISK_SLOT + number},serial=lab-{file.stem},bootindex={number + 1}"
        words += ["-drive", f"file={file},format={kind},if=none,id=disk{number},discard=unmap"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number},{place}"]
    return words


def _ports(stand_ins: list[StandIn]) -> list[str]:
    """One PCIe port for each stand-in, with the link that was asked for."""
    words: list[str] = []
    for number, stand_in in enumerate(stand_ins, 1):
        port, slot = f"port{number}", FIRST_PORT_SLOT + number - 1
        link = f"x-speed={SPEEDS[stand_in.speed]},x-width={stand_in.width}"
        words += ["-device", f"pcie-root-port,id={port},chassis={number},addr={slot:#x},{link}"]
        functions = STAND_INS[stand_in.device]
        if stand_in.device == CROWD:
            words += ["-device", f"pcie-pci-bridge,id=bridge{number},bus={port},addr=0"]
            for address, device in enumerate(functions, 1):
                words += ["-device", f"{device},bus=bridge{number},addr={address}"]
            continue
        for function, device in enumerate(functions):
            place = f"bus={port},addr=0.{function}"
            more = ",multifunction=on" if len(functions) > 1 and not function else ""
            words += ["-device", f"{device.format(number=number)},{place}{more}"]
    return words
