"""Where the kernel modules come from: signed ones from the archive, or built on the box."""

import re
from collections.abc import Sequence

from deeprig import catalog
from deeprig.facts.gpus import GpuFacts

IMAGE = "linux-image-"


def prebuilt_for(system: str, graphics: GpuFacts) -> tuple[str, ...]:
    """The kernel flavours of the box, where its archive builds modules for every one of them;
    none otherwise. A box that one only thinks of has the usual kernel.
    """
    signed = catalog.load("driver_packages")["kernels"].get(system, ())
    flavours = _flavours(graphics)
    return flavours if flavours and all(name in signed for name in flavours) else ()


def build_tools(system: str) -> tuple[str, ...]:
    """What NVIDIA's repository has to give besides, since its drivers want a newer one than the
    distribution has.
    """
    row = catalog.load("driver_packages")["dkms"]
    version = row["distribution"].get(system, row["least"])
    return tuple(row["packages"]) if _numbers(version) < _numbers(row["least"]) else ()


def metapackages(graphics: GpuFacts, kernels: Sequence[str]) -> tuple[str, ...]:
    """The kernel's own packages that must move together with modules for these flavours."""
    if graphics.kernels is None:
        return tuple(f"{IMAGE}{name}" for name in kernels)
    return tuple(
        name
        for name in graphics.kernel_packages
        if _generic(re.sub(r"^linux-(image-|headers-)?", "", name)) in kernels
    )


def headers(graphics: GpuFacts) -> tuple[str, ...]:
    """What brings the headers of the kernels, now and after their updates; nothing for kernels
    from elsewhere.
    """
    images = [name for name in graphics.kernel_packages if name.startswith(IMAGE)]
    if images:
        names = [name.removeprefix(IMAGE) for name in images]
    else:
        # 6.1.0-56-amd64, 6.12.117+deb13-cloud-amd64, 6.12.38+deb12-rt-amd64
        pattern = r"^[\d.]+(?:\+[\w.~]+)?(?:-\d+)?-"
        known = catalog.load("driver_packages")["headers"]["flavours"]
        every = [re.sub(pattern, "", kernel) for kernel in graphics.kernels or ()]
        names = [name for name in every if name in known]
    return tuple(f"linux-headers-{name}" for name in dict.fromkeys(names))


def _flavours(graphics: GpuFacts) -> tuple[str, ...]:
    if graphics.kernels is None and not graphics.kernel_packages:
        return ("generic",)
    images = [name for name in graphics.kernel_packages if name.startswith(IMAGE)]
    return tuple(dict.fromkeys(_generic(name.removeprefix(IMAGE)) for name in images))


def _generic(flavour: str) -> str:
    """virtual-hwe-24.04 is generic-hwe-24.04 with fewer drivers."""
    return re.sub(r"^virtual\b", "generic", flavour)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
