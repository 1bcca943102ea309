"""Whether a kernel would come up with the driver: module, signature, initramfs, room."""

import os
import re
import shlex
import shutil
from pathlib import Path

from deeprig_box.lib import bounded, place
from deeprig_box.nvidia import driver
from deeprig_box.nvidia.driver import said

GUARD = shlex.join(place.command("boot-guard"))
BOOT = Path("/boot")
BLACKLIST = Path("/etc/modprobe.d/50-deeprig-nouveau.conf")
NOUVEAU = re.compile(r"/(nouveau|nova[-_](?:core|drm))\.ko")
EFI_VARIABLES = Path("/sys/firmware/efi/efivars")
SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM_STATE = "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"
DKMS = Path("/var/lib/dkms")
LOG_LINES = 24
SETTLED = ("", "installed", "config-files", "not-installed")  # of a package, as dpkg says it


def has_driver() -> bool:
    """Whether there is a driver to guard: one that was planned, and whose packages came."""
    return driver.PLAN.exists() and bool(driver.driver_version())


def half_there() -> str:
    """The driver's package while it is on its way in or out, or was cut off there; else empty."""
    if not driver.PLAN.exists():
        return ""
    name = driver.plan()["packages"][0].partition("=")[0]
    return "" if said("dpkg-query", "-W", "-f", "${db:Status-Status}", name) in SETTLED else name


def identity(kernel: str) -> str:
    """Which module this kernel has: another version, or another build of it, is another one."""
    file = said("modinfo", "-k", kernel, "-F", "filename", driver.plan()["module"])
    made = Path(file).stat().st_mtime_ns if file.startswith("/") else 0
    return f"{driver.driver_version()} {made}"


def module(kernel: str) -> str:
    """What is wrong with this kernel's module; empty where it is proved."""
    return driver.wrong(kernel, driver.driver_version()) or signature(kernel)


def unfit(kernel: str) -> str:
    """Why this kernel is not to be booted by itself; empty where it may be."""
    ram = BOOT / f"initrd.img-{kernel}"
    makes_one = shutil.which("update-initramfs") or shutil.which("dracut")
    if makes_one and not (ram.exists() and ram.stat().st_size):
        return f"there is no {ram}"
    return module(kernel)


def secure_boot() -> bool:
    """Whether the kernel would refuse a module that nobody signed: shim may have been told not to
    look, by `mokutil --disable-validation`.
    """
    return is_set(SECURE_BOOT) and not is_set(SHIM_STATE)


def is_set(variable: str) -> bool:
    try:
        return Path(EFI_VARIABLES, variable).read_bytes()[4:5] == b"\1"
    except OSError:
        return False


def signature(kernel: str) -> str:
    """Where Secure Boot is on: why the kernel would refuse the module; empty if it would not."""
    if not secure_boot():
        return ""
    name = driver.plan()["module"]
    signer = said("modinfo", "-k", kernel, "-F", "signer", name)
    if not signer:
        return f"{name} for kernel {kernel} is not signed, and Secure Boot is on"
    if is_trusted(signer, Path("/proc/keys").read_text(), said("mokutil", "--list-enrolled")):
        return ""
    return (
        f"{name} for kernel {kernel} is signed by {signer!r}, whom this box does not trust, and "
        "Secure Boot is on; enrol that key with `sudo mokutil --import`, at the next boot's console"
    )


def is_trusted(signer: str, keys: str, enrolled: str) -> bool:
    """`keys` is /proc/keys, which has `OWNER: NAME: ID: X509...`; `enrolled` is mokutil's list."""
    names = re.findall(r"\basymmetri\S* (.+?): [0-9a-f]{8,}: X509", keys)
    if any(name == signer or name.endswith(f": {signer}") for name in names):
        return True
    return bool(re.search(rf"CN ?= ?{re.escape(signer)}\s*$", enrolled, re.MULTILINE))


def dkms(kernel: str) -> str:
    """Where DKMS builds the modules: what it says, unless that is `installed`."""
    plan, version = driver.plan(), driver.driver_version()
    if plan["modules"] != "dkms":
        return ""
    status = said("dkms", "status", "-m", plan["dkms_name"], "-v", version, "-k", kernel)
    if re.search(r": installed", status):
        return ""
    return f"DKMS does not have {plan['dkms_name']} {version} installed for kernel {kernel}"


def files(kernel: str, initrd: str) -> str:
    """What is wrong with the files that the boot loader loads; empty if nothing."""
    image = BOOT / f"vmlinuz-{kernel}"
    ram = BOOT / (Path(initrd).name or f"initrd.img-{kernel}")
    for file in (image, ram):
        if not file.exists() or not file.stat().st_size:
            return f"{file} is missing or empty; `sudo update-initramfs -c -k {kernel}` may mend it"
    lister = shutil.which("lsinitramfs") or shutil.which("lsinitrd")
    if not lister:
        return ""
    listed = bounded.run([lister, ram])
    if listed.code:
        return (
            f"{ram} cannot be read to its end; `sudo update-initramfs -u -k {kernel}` makes it anew"
        )
    old = not BLACKLIST.exists() or ram.stat().st_mtime <= BLACKLIST.stat().st_mtime
    rival = NOUVEAU.search(listed.out)
    if rival and old and has_driver():
        return f"{ram} would load {rival[1]}; `sudo update-initramfs -u -k {kernel}` makes it anew"
    return ""


def room() -> str:
    """Whether the next kernel's files still fit into /boot; empty if they do."""
    largest = [
        max((file.stat().st_size for file in BOOT.glob(f"{kind}-*")), default=0)
        for kind in ("vmlinuz", "initrd.img")
    ]
    usage = os.statvfs(BOOT)
    free, needed = usage.f_bavail * usage.f_frsize, sum(largest)
    if free >= needed:
        return ""
    return (
        f"/boot has {free / 1e6:.0f} MB left, and a kernel with its initramfs needs "
        f"{needed / 1e6:.0f} MB; `sudo apt autoremove --purge` takes old kernels out"
    )


def why_not(kernel: str, initrd: str = "") -> str:
    """Why a reboot into this kernel must not be; empty where it may."""
    if half := re.findall(r"^ (\S+)", said("dpkg", "--audit"), re.MULTILINE):
        names = " ".join(half)
        return f"dpkg has not finished {names}; `sudo dpkg --configure -a` does, or says why"
    if problem := without_driver(kernel):
        return f"{problem}; {remedy(kernel)}"
    return files(kernel, initrd) or room()


def without_driver(kernel: str) -> str:
    """Why this kernel would come up without the driver's modules; empty where it has them."""
    return (module(kernel) or dkms(kernel)) if has_driver() else ""


def owed() -> str:
    """Why the driver needs a reboot; empty if it does not."""
    use = driver.in_use() if has_driver() else ""
    return use.removeprefix("reboot: ") if use.startswith("reboot: ") else ""


def refused() -> str:
    """Why this kernel does not take the module; empty if it does, or the card alone is at fault."""
    tried = bounded.run(["modprobe", driver.plan()["module"]])
    why = " ".join(tried.err.split())
    return why if tried.code and not why.endswith("No such device") else ""


def remedy(kernel: str) -> str:
    """What a person can do where a kernel has no module."""
    if driver.plan()["modules"] != "dkms":
        return "the archive brings its module with a later update"
    if not driver.has_headers(kernel):
        if name := driver.headers_of(kernel):
            return f"`sudo apt install {name}` brings what its module is built with"
        return (
            f"apt knows no headers of it; once they are at /lib/modules/{kernel}/build, "
            f"`sudo {GUARD} rebuild {kernel}` makes its module"
        )
    return f"`sudo {GUARD} rebuild {kernel}` tries again and says why"


def build_log(kernel: str = "") -> list[str]:
    """The last failed build's log from its first error on; empty where none failed, or it was not
    for this kernel.
    """
    if not driver.PLAN.exists() or driver.plan()["modules"] != "dkms":
        return []
    logs = DKMS.glob(f"{driver.plan()['dkms_name']}/*/build/make.log")
    last = max(logs, key=lambda log: log.stat().st_mtime, default=None)
    text = last.read_text(errors="replace") if last else ""
    its = f"for kernel {kernel} " if kernel else "for kernel "  # as the first line has it
    if its not in text.partition("\n")[0]:
        return []
    short = [line for line in text.splitlines() if 0 < len(line) < 200]
    begin = next((n for n, line in enumerate(short) if "error: " in line), len(short) - LOG_LINES)
    return [f"The end of {last}:", *(f"    {line}" for line in short[max(begin, 0) :][:LOG_LINES])]
