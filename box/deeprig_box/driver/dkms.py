"""Modules for the kernels that are there: built by DKMS, or ready made from the archive."""

import re
import shutil
from pathlib import Path

from deeprig_box.driver import headers, simulate
from deeprig_box.driver.simulate import APT_GET
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver, index
from deeprig_box.nvidia.steps import run

BOOT = Path("/boot")


def newest_has_what_it_needs() -> None:
    """Headers for the kernel that would boot next, and the compilers that built these kernels."""
    if driver.plan()["modules"] != "dkms":
        return
    for newest in driver.kernels()[-1:]:
        headers.of_the_newest(newest)
    for kernel in driver.kernels_to_prove():
        name = compiler(kernel)
        if not name or shutil.which(name):
            continue
        if why := run(f"Install {name}, which built {kernel}", [*APT_GET, "install", name]):
            raise BoxError(f"kernel {kernel} was built by {name}, which apt does not bring: {why}")


def compiler(kernel: str) -> str:
    """gcc-12 for a kernel whose configuration says so; "" where it does not say."""
    config = BOOT / f"config-{kernel}"
    if not config.exists():
        return ""
    line = re.search(r'^CONFIG_CC_VERSION_TEXT="(.*)"$', config.read_text(), re.MULTILINE)
    # "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "x86_64-linux-gnu-gcc-13 (Ubuntu ...) 13.3.0"
    match = line and re.match(r"(?:\S+-)?gcc(?:-\d+)? .* (\d+)[.\d]*$", line[1])
    return f"gcc-{match[1]}" if match else ""


def build_what_is_missing() -> None:
    """DKMS builds for the kernels it sees while a package is installed; here for the others."""
    if driver.plan()["modules"] != "dkms":
        return
    version, name = driver.driver_version(), driver.plan()["dkms_name"]
    for kernel in driver.kernels_to_prove():
        if version and driver.wrong(kernel, version):
            command = ["dkms", "install", "--force", "-m", name, "-v", version, "-k", kernel]
            run(f"Build the modules for kernel {kernel}", command)


def fetch_what_is_missing() -> None:
    """Ready made modules for a kernel that somebody installed beside those that are held."""
    if driver.plan()["modules"] != "prebuilt":
        return
    version, newest = driver.driver_version(), driver.kernels()[-1:]
    if not version or not newest or not driver.wrong(newest[0], version):
        return
    plan, kernel = driver.plan(), newest[0]
    stem = re.compile(rf"{driver.PREBUILT}\d+(-server)?(-open)?-")
    stems = [match[0] for match in map(stem.match, plan["packages"]) if match]
    index.read_anew(plan)
    for name in (f"{stem}{kernel}" for stem in stems):
        for entry in (f"{name}={its}" for its in simulate.offered(name)):
            would = simulate.simulated([entry])
            if simulate.objection(would, [entry], plan, simulate.held()):
                continue
            if not run(f"Install {name}", [*APT_GET, "install", entry]):
                return
    owner = driver.said("dpkg", "-S", f"{BOOT}/vmlinuz-{kernel}").partition(":")[0]
    way = f"`sudo apt purge {owner}`" if owner else f"`sudo rm {BOOT}/vmlinuz-{kernel}`"
    raise BoxError(
        f"the archive has no modules of driver {version} for kernel {kernel} yet; wait for them, "
        f"or take it out with {way}"
    )
