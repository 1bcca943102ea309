"""Which devices change hands at the next boot, between drivers of their own and vfio-pci.

Reads only.
"""

from pathlib import Path

GIVEN = Path("/etc/deeprig/passthrough.list")
# What this boot began with: one that was tried and did not go goes at no other boot either.
TRIED = Path("/run/deeprig-passthrough.list")
DEVICES = Path("/sys/bus/pci/devices")
TAKER = "vfio-pci"


def waiting() -> list[str]:
    """Each device that another boot would move, and where to."""
    given, tried = listed(GIVEN), listed(TRIED)
    to = [address for address in given if address not in tried and not taken(address)]
    back = [address for address in tried if address not in given and taken(address)]
    return [
        *(f"{address} to {TAKER}" for address in to),
        *(f"{address} from {TAKER}" for address in back),
    ]


def left() -> list[str]:
    """Those that were to go to vfio-pci at this boot, and did not."""
    return [address for address in listed(TRIED) if not taken(address)]


def listed(file: Path) -> list[str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split()[0] for line in lines if line[:1] not in ("#", "")]


def taken(address: str) -> bool:
    driver = DEVICES / address / "driver"
    return driver.exists() and driver.resolve().name == TAKER
