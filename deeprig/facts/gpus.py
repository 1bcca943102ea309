"""The NVIDIA cards of a box, and what it brings for their driver."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deeprig import catalog
from deeprig.catalog import package_names
from deeprig.catalog.gpus import Gpu, identify
from deeprig.parsers import kernel_modules, untrusted
from deeprig.parsers.untrusted import NotSo

SCRIPT = (Path(__file__).parent / "gpus.sh").read_text()
DISPLAY_CLASSES = ("0300", "0302")
SWITCH_CLASS = "0680"
SOURCES = ("distro", "nvidia")

_class = untrusted.parser("class of a PCI device", "[0-9a-f]{6}", 6)
_unit = untrusted.parser("unit", r"[\w@.:\\-]+", 255)
_modalias = untrusted.parser("card and its package", r"10de:[0-9a-f]{4} [a-z0-9][a-z0-9+.-]*", 100)


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """What a box brings for a driver: cards, kernels that could boot (oldest first; None where
    that is not known), Secure Boot, and the version of the driver that is loaded now, or "".

    `standing_driver` is the branch of the driver that deeprig installed there, or "";
    `kernel_packages` are the installed metapackages of its kernels, such as linux-image-amd64;
    `desktop` the unit of its display manager; `module_key_enrolled` whether the firmware knows the
    key that DKMS signs with; `modaliases` the archive's packages that name a card of the box;
    `offers` package -> versions that its apt knows, newest first, None where nobody asked it;
    `passed_through` the addresses of those that go to a guest; `fake` a lab's profile of pretended
    cards.
    """

    gpus: tuple[Gpu, ...] = ()
    kernels: tuple[str, ...] | None = None
    secure_boot: bool = False
    loaded_driver: str = ""
    standing_driver: str = ""
    kernel_packages: tuple[str, ...] = ()
    desktop: str = ""
    module_key_enrolled: bool = False
    modaliases: tuple[str, ...] = ()
    offers: Mapping[str, tuple[str, ...]] | None = None
    nvswitch: bool = False
    passed_through: tuple[str, ...] = ()
    fake: str = ""


def variables(*, expected: Iterable[str], planned: bool, cardless: bool) -> str:
    """What SCRIPT is told of the settings, as shell assignments: cards to prepare for, whether it
    shall ask the box's apt at all, and whether also where no card is.
    """
    ids = " ".join(pci_id.removeprefix("10de:") for pci_id in expected)
    systems = [f"{row['id']}-{row['version']}" for row in catalog.load("systems")["system"]]
    names = {
        name
        for system in systems
        for source in SOURCES
        for name in package_names.of(system, source)
    }
    offers = " ".join(sorted(names)) if planned else ""
    keys = " ".join(
        f"{system}={row['file']}"
        for row in catalog.load("driver_packages")["module_key"]
        for system in row["systems"]
    )
    known = [row["name"] for row in catalog.load("drivers")["branch"]]
    known += [row["version"].replace(".", "-") for row in catalog.load("cuda")["toolkit"]]
    without = "yes" if cardless else ""
    return (
        f"EXPECTED={shlex.quote(ids)} MODULE_KEYS={shlex.quote(keys)} "
        f"OFFERS={shlex.quote(offers)} KNOWN={shlex.quote('|'.join(known))} "
        f"CARDLESS={shlex.quote(without)}"
    )


def read(found: dict[str, list[str]]) -> GpuFacts:
    """The graphics part of a survey: `key -> values` as SCRIPT printed them. Raises NotSo."""
    devices = list(map(_on_the_bus, found.get("gpu", [])))
    return GpuFacts(
        gpus=tuple(
            identify(pci_id, address)
            for address, pci_id, pci_class in devices
            if pci_class[:4] in DISPLAY_CLASSES
        ),
        kernels=tuple(sorted(map(untrusted.version, found.get("kernel", [])), key=_numbers)),
        secure_boot="secure_boot" in found,
        loaded_driver=_or_none(untrusted.version, found.get("loaded_driver", [""])[0]),
        standing_driver=_or_none(untrusted.version, found.get("standing_driver", [""])[0]),
        kernel_packages=tuple(map(untrusted.package, found.get("kernel_package", []))),
        desktop=_or_none(_unit, found.get("desktop", [""])[0]),
        module_key_enrolled=any(map(kernel_modules.key_enrolled, found.get("module_key", []))),
        modaliases=tuple(map(_modalias, found.get("modalias", []))),
        offers=_offers(found),
        nvswitch=any(_is_switch(pci_id, pci_class) for _, pci_id, pci_class in devices),
        passed_through=tuple(_on_the_bus(line)[0] for line in found.get("given_gpu", [])),
        fake=untrusted.words(found.get("fake_gpu", [""])[0]),
    )


def _offers(found: dict[str, list[str]]) -> dict[str, tuple[str, ...]] | None:
    """Package -> versions, from `offer=NAME VERSION VERSION`; None where apt was not asked."""
    if "offers" not in found:
        return None
    lines = [line.split() for line in found.get("offer", []) if line.split()]
    return {
        untrusted.package(name): tuple(map(untrusted.version, versions))
        for name, *versions in lines
    }


def _on_the_bus(line: str) -> tuple[str, str, str]:
    """Address, id and class of one device."""
    words = line.split()
    if len(words) != 3:
        raise NotSo(f"{line[:80]!r} is no PCI device")
    return untrusted.pci_address(words[0]), untrusted.pci_id(words[1]), _class(words[2])


def _or_none(parse: Callable[[str], str], text: str) -> str:
    return parse(text) if text else ""


def _is_switch(pci_id: str, pci_class: str) -> bool:
    ids = catalog.load("gpus")["nvswitch"]["ids"]
    return pci_class[:4] == SWITCH_CLASS and pci_id.removeprefix("10de:") in ids


def _numbers(release: str) -> tuple[list[int], str]:
    """A key that sorts 6.1.0-9 before 6.1.0-10."""
    return [int(number) for number in re.findall(r"\d+", release)], release
