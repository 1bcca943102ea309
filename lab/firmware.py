"""The UEFI firmware of VMs, OVMF, with Secure Boot or without."""

from dataclasses import dataclass
from pathlib import Path

from lab.errors import fail

OVMF = Path("/usr/share/OVMF")


@dataclass(frozen=True)
class Firmware:
    """The program, shared by all VMs, and the variables a new one starts with."""

    code: Path
    variables: Path


def find(*, secure_boot: bool) -> Firmware:
    """As Debian and Ubuntu install it. Raises DeeprigError where it is not there.

    For Secure Boot the variables have Microsoft's keys enrolled, as boards are sold.
    """
    trusting = ".ms" if secure_boot else ""
    firmware = Firmware(OVMF / f"OVMF_CODE_4M{trusting}.fd", OVMF / f"OVMF_VARS_4M{trusting}.fd")
    for file in (firmware.code, firmware.variables):
        if not file.exists():
            fail(f"{file} is not here; VMs need Debian's or Ubuntu's package ovmf.")
    return firmware
