"""What there is of NVIDIA's driver on this box: packages, kernels, a module for each, and its use.

Reads only.
"""

import json
import re
from pathlib import Path
from typing import Any

from deeprig_box.lib.programs import said as said

PLAN = Path("/etc/deeprig/driver.json")
GIVEN = Path("/etc/deeprig/passthrough.list")
GUARD = Path("/var/lib/deeprig/boot-guard.json")
LICENCES = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}
NOUVEAU = ("nouveau", "nova_core", "NovaCore")
LOADED = Path("/sys/module/nvidia/version")
# Packages that may be of a driver; they are if their version is the driver's.
OF_A_DRIVER = re.compile(r"nvidia|^libcuda|^libnv|^libxnvctrl|^firmware-nvidia|^cuda-drivers")
OF_NO_DRIVER = re.compile(r"nvidia-container|nvidia-docker|nvidia-cuda-toolkit")
# What talks to the driver so closely that another point release does not do.
OF_THE_BUILD = re.compile(r"^(nvidia-fabricmanager|libnvidia-nscq|nvidia-imex)(-\d+)?$")
PREBUILT = "linux-modules-nvidia-"
BOOT = Path("/boot")
# What GRUB leaves out of its menu: see grub_file_is_not_garbage in grub-mkconfig_lib.
NO_KERNEL = re.compile(r"\.dpkg-|\.rpm(save|new)$|~$|\.sig$")
# Debian's, Ubuntu's and XanMod's; Proxmox's since 8 and before. Read 2026-11-30.
HEADERS = ("linux-headers-{}", "proxmox-headers-{}", "pve-headers-{}")
OF_A_KERNEL = ("linux-image-", "linux-headers-", "linux-generic")


def plan() -> dict[str, Any]:
    """branch, source, flavour, modules, module, dkms_name, packages, headers, ...: what stands.

    The first of the packages has the driver's version.
    """
    planned: dict[str, Any] = json.loads(PLAN.read_text())
    return planned


def installed() -> dict[str, str]:
    """Name -> version of every package that is there and configured."""
    form = "${db:Status-Status} ${Package} ${Version}\\n"
    lines = said("dpkg-query", "-W", "-f", form).splitlines()
    return {name: version for state, name, version in map(str.split, lines) if state == "installed"}


def driver_version() -> str:
    """535.309.01 of the installed modules' package; empty where it is not installed whole."""
    return upstream(installed().get(plan()["packages"][0], ""))


def upstream(version: str) -> str:
    """580.178.04 of 580.178.04-0ubuntu1, as the modules themselves say it."""
    return version.rpartition(":")[2].partition("-")[0]


def driver_set() -> list[str]:
    """Every installed package that moves with the driver, by its exact name; kernels too, where
    the modules come ready made for them.
    """
    planned, version = plan(), driver_version()
    if not version:
        return []
    prebuilt = planned["modules"] == "prebuilt"
    named = {*planned["packages"], *(planned.get("kernel_metapackages", []) if prebuilt else [])}

    def moves(name: str, its: str) -> bool:
        if name in named or (prebuilt and name.startswith(PREBUILT)):
            return True
        return upstream(its) == version and is_of_a_driver(name)

    return sorted(name for name, its in installed().items() if moves(name, its))


def is_of_a_driver(name: str) -> bool:
    return bool(OF_A_DRIVER.search(name)) and not OF_NO_DRIVER.search(name)


def kernels() -> list[str]:
    """Every kernel that the boot loader could boot, the newest, its first choice, at the end."""
    files = [file for file in BOOT.glob("vmlinuz-*") if not NO_KERNEL.search(file.name)]
    names = [file.name.removeprefix("vmlinuz-") for file in files]
    return sorted(names, key=lambda name: ([int(n) for n in re.findall(r"\d+", name)], name))


def has_headers(kernel: str) -> bool:
    return Path("/lib/modules", kernel, "build").exists()


def headers_of(kernel: str) -> str:
    """The package of this kernel's headers that apt knows, "" for none."""
    names = (name.format(kernel) for name in HEADERS)
    return next((name for name in names if said("apt-cache", "madison", name)), "")


def has_module(kernel: str) -> bool:
    return bool(said("modinfo", "-k", kernel, "-F", "filename", plan()["module"]))


def kernels_to_prove() -> list[str]:
    """Those that can have a module, and the newest anyway; an old one without headers gets none,
    nor one that would not build, while the boot guard keeps the box off it.
    """
    every, off = kernels(), kept_off()
    able = has_module if plan()["modules"] == "prebuilt" else has_headers
    return [k for k in every if (able(k) or k == every[-1]) and k not in off]


def kept_off() -> set[str]:
    """Kernels for which this driver did not build, and that do not boot next; see boot-guard."""
    if not GUARD.exists():
        return set()
    guard, version = json.loads(GUARD.read_text()), driver_version()
    unbuilt = guard.get("unbuilt", {}).items()
    return {kernel for kernel, its in unbuilt if its == version and kernel != guard["next"]}


def wrong(kernel: str, version: str) -> str:
    """What is wrong with this kernel's module, empty if nothing."""
    name, flavour = plan()["module"], plan()["flavour"]
    for module in (name, f"{name}-uvm"):
        its = said("modinfo", "-k", kernel, "-F", "version", module)
        # The uvm module carries no version; it is there or not.
        if not its and not said("modinfo", "-k", kernel, "-F", "filename", module):
            return f"there is no {module} for kernel {kernel}"
        if its and its != version:
            return f"{module} for kernel {kernel} is {its}, and the packages are {version}"
    licence = said("modinfo", "-k", kernel, "-F", "license", name)
    if licence != LICENCES[flavour]:
        return f"{name} for kernel {kernel} has licence {licence!r}, which is not the {flavour} one"
    return ""


def state() -> str:
    """`ok VERSION for KERNELS`, or one line that says what is missing or wrong."""
    versions, planned = installed(), plan()
    missing = [name for name in planned["packages"] if name not in versions]
    if missing:
        return f"not installed: {' '.join(missing)}"
    version = driver_version()
    if not version.startswith(f"{planned['branch']}."):
        return f"driver {version} is there, and the plan is {planned['branch']}"
    for name in filter(OF_THE_BUILD.match, versions):
        if upstream(versions[name]) != version:
            its = upstream(versions[name])
            return f"{name} {its} is there, which must be {version} as the driver"
    if not kernels():
        return "no kernel is installed"
    for kernel in kernels_to_prove():
        if problem := wrong(kernel, version):
            return problem
    return f"ok {version} for {' '.join(kernels_to_prove())}"


def cards() -> list[Path]:
    """NVIDIA's cards on this box's own bus, without those given to a guest; a container sees its
    host's, which are not its own.
    """
    if said("systemd-detect-virt", "-c"):
        return []
    devices = Path("/sys/bus/pci/devices").glob("*")
    given = GIVEN.read_text() if GIVEN.exists() else ""
    return [
        card
        for card in sorted(devices)
        if f"{card.name} " not in given
        and (card / "vendor").read_text().strip() == "0x10de"
        and (card / "class").read_text()[:6] in ("0x0300", "0x0302")
    ]


def in_use() -> str:
    """`ok`; `load` where the module may be loaded now; `reboot: WHY` where a reboot is owed;
    `wrong: WHY` where another driver has every card.
    """
    holders = {card: holder(card) for card in cards()}
    if not holders:
        return "ok"
    for card, name in holders.items():
        if name in NOUVEAU:
            return f"reboot: {name} holds the card {card.name}"
    version = driver_version()
    if LOADED.exists():
        now = LOADED.read_text().strip()
        return "ok" if now == version else f"reboot: driver {now} is loaded, {version} installed"
    if all(name not in ("", "nvidia") for name in holders.values()):
        taken = ", ".join(f"{card.name} by {name}" for card, name in holders.items())
        return f"wrong: every card is held by another driver ({taken})"
    running = said("uname", "-r")
    if problem := wrong(running, version):
        return f"reboot: {problem}, which is running"
    return "load"


def holder(card: Path) -> str:
    """The driver that has it, "" for none."""
    return (card / "driver").resolve().name if (card / "driver").exists() else ""
