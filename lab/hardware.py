"""What a VM is built of, as far as one can choose."""

import re
from dataclasses import dataclass
from typing import Any

from lab.errors import fail

# The names people use, and QEMU's. None has a ROM: nobody boots from the network here.
CARDS = {
    "virtio": "virtio-net-pci",
    "vmxnet3": "vmxnet3",
    "i82559c": "i82559c",
    "rtl8139": "rtl8139",
    "e1000": "e1000",
    "e1000e": "e1000e",
}

# Emulated devices that stand in for real ones, each behind a PCIe port of its own; one with
# several functions is one device, as a graphics card and its sound are. The two of `crowd` are
# devices of their own behind a bridge that keeps nobody apart: one IOMMU group.
STAND_INS: dict[str, tuple[str, ...]] = {
    "gpu": ("bochs-display", "ich9-intel-hda"),
    "vga": ("secondary-vga",),
    "crowd": ("secondary-vga", "edu"),
    "edu": ("edu",),
    "e1000e": ("e1000e,romfile=",),
    "nvme": ("nvme,serial=lab-nvme-{number}",),
    "watchdog": ("i6300esb",),
}
CROWD = "crowd"
SPEEDS = {"2.5": "2_5", "5": "5", "8": "8", "16": "16"}
WIDTHS = ("1", "2", "4", "8", "12", "16", "32")


@dataclass(frozen=True)
class StandIn:
    """A device in a slot whose link is as fast (GT/s) and as wide (lanes) as said."""

    device: str
    speed: str = "16"
    width: str = "16"

    @classmethod
    def parse(cls, text: str) -> "StandIn":
        """`gpu` or `gpu:8x4`, 8 GT/s on 4 lanes. Raises DeeprigError for anything else."""
        device, _, link = text.partition(":")
        speed, _, width = (link or "16x16").partition("x")
        if device not in STAND_INS or speed not in SPEEDS or width not in WIDTHS:
            fail(
                f"--pci {text!r} is no stand-in; take {', '.join(STAND_INS)}, with the slot's link "
                f"if it matters, such as gpu:8x4 ({', '.join(SPEEDS)} GT/s, "
                f"{', '.join(WIDTHS)} lanes)."
            )
        return cls(device, speed, width)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Memory in MiB; sizes of the disks besides the system's and the data disk, such as 2G."""

    memory: int = 1536
    processors: int = 1
    disks: tuple[str, ...] = ()
    nic: str = "virtio"
    iommu: bool = False
    pci: tuple[str, ...] = ()
    secure_boot: bool = False

    def __post_init__(self) -> None:
        if self.nic not in CARDS:
            fail(f"--nic {self.nic!r} is no card; take one of {', '.join(CARDS)}.")
        for size in self.disks:
            in_bytes(size)
        for device in self.pci:
            StandIn.parse(device)

    @classmethod
    def load(cls, saved: dict[str, Any]) -> "Hardware":
        """As `dataclasses.asdict` and JSON left it."""
        lists = {key: tuple(saved.get(key, ())) for key in ("disks", "pci")}
        return cls(**(saved | lists))


def in_bytes(size: str) -> int:
    """Bytes in `500M`, `2G` or `1T`. Raises DeeprigError for anything else."""
    match = re.fullmatch(r"([1-9]\d*)([MGT])", size)
    if not match:
        fail(f"--disk {size!r} is no size; write it as 500M or 2G.")
    return int(match[1]) << {"M": 20, "G": 30, "T": 40}[match[2]]
