"""What apt fetches of a driver, kept for the day when it must be put back without a network."""

import shutil
from pathlib import Path

from deeprig_box.driver.simulate import QUIET
from deeprig_box.lib import bounded
from deeprig_box.nvidia import driver as driver_proof

DEBS = Path("/var/lib/deeprig/driver-debs")
INCOMING = DEBS / "incoming"


def install_options() -> list[str]:
    """Downloads into a folder of ours, since apt's own may be emptied by whoever likes."""
    (INCOMING / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::Cache::Archives={INCOMING}/", "-o", "APT::Keep-Downloaded-Packages=true"]


def keep_debs(version: str, names: list[str]) -> None:
    """The packages of what is installed, for the day when it must be put back without a network."""
    folder = DEBS / version
    folder.mkdir(parents=True, exist_ok=True)
    there = driver_proof.installed()
    for name in names:
        if name.startswith(driver_proof.OF_A_KERNEL) or any(folder.glob(f"{name}_*.deb")):
            continue
        for file in INCOMING.glob(f"{name}_{there[name].replace(':', '%3a')}_*.deb"):
            file.rename(folder / file.name)
    lacking = [name for name in names if not any(folder.glob(f"{name}_*.deb"))]
    lacking = [n for n in lacking if not n.startswith(driver_proof.OF_A_KERNEL)]
    if lacking:
        asked = [f"{name}={there[name]}" for name in lacking]
        bounded.run(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *asked],
            folder=folder, seconds=bounded.LONG, environment=QUIET,
        )  # fmt: skip
    shutil.rmtree(INCOMING, ignore_errors=True)
