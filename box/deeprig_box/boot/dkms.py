"""The driver's modules for a kernel that comes, built so that its own installation goes on.

DKMS's own hook ends in error where a build fails, which leaves the kernel half installed, without
an initramfs, and apt unwilling. So /etc/dkms/<name>.conf keeps that hook from these modules; DKMS
before 3.1 does not read it there for a new kernel (`autoinstall` sets no $module in 3.0.10), but
only the modules' own file, so that says so as well.
"""

import re
from pathlib import Path
from typing import Any

from deeprig_box.boot import kernel_check
from deeprig_box.lib import bounded, files
from deeprig_box.nvidia import driver

SOURCES = Path("/usr/src")
BY_ITSELF, NOT = 'AUTOINSTALL="yes"', 'AUTOINSTALL=""'
SET = re.compile(r"^AUTOINSTALL=.*$", re.MULTILINE)


def by_itself(wanted: bool) -> list[Path]:
    """The driver's own files that have DKMS's hook build its modules, or not."""
    if not driver.PLAN.exists() or driver.plan()["modules"] != "dkms":
        return []
    files = sorted(SOURCES.glob(f"{driver.plan()['dkms_name']}-*/dkms.conf"))
    settings = [(file, SET.search(file.read_text())) for file in files]
    return [file for file, setting in settings if bool(setting and setting[0] != NOT) is wanted]


def leave_to_us(ours: bool) -> None:
    """Have DKMS's hook leave the driver's modules alone, or build them as it would."""
    for file in by_itself(ours):
        files.write(file, SET.sub(NOT if ours else BY_ITSELF, file.read_text()))


def build(kernel: str, *, anyway: bool = False) -> None:
    """Have the modules for this kernel, if its headers are there; a failure is told, no more."""
    if not kernel_check.has_driver() or driver.plan()["modules"] != "dkms":
        return
    if not driver.has_headers(kernel) or (is_fresh(kernel) and not anyway):
        return
    name, version = driver.plan()["dkms_name"], driver.driver_version()
    chosen = ["-m", name, "-v", version, "-k", kernel]
    print(f"deeprig: building the driver's modules for kernel {kernel} ...", flush=True)
    for action in ("build", "install"):
        if bounded.run(["dkms", action, "--force", *chosen], seconds=bounded.LONG, shown=True).code:
            print("\n".join(kernel_check.build_log(kernel)), flush=True)
            return


def is_fresh(kernel: str) -> bool:
    """Whether its module is right, and came after the kernel's image, which may be a new build."""
    image = Path("/boot", f"vmlinuz-{kernel}")
    module = driver.said("modinfo", "-k", kernel, "-F", "filename", driver.plan()["module"])
    if kernel_check.module(kernel) or not image.exists():
        return False
    return Path(module).stat().st_ctime >= image.stat().st_ctime


def note_unbuilt(record: dict[str, Any], bad: list[str]) -> None:
    """So that no deploy tries again what failed already: driver_proof.py reads it."""
    if kernel_check.has_driver():
        version, before = driver.driver_version(), record["unbuilt"]
        failed = [k for k in bad if kernel_check.build_log(k) or before.get(k) == version]
        record["unbuilt"] = dict.fromkeys(failed, version)
