"""NVIDIA's kernel modules, in the words of DKMS, mokutil, modinfo and the module itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

PARAMETERS = "/proc/driver/nvidia/params"
DKMS = re.compile(
    r"^(?P<name>[\w.+-]+)(?:/|, )(?P<version>[\w.+~-]+)"
    r"(?:, (?P<kernel>[^,]+), (?P<arch>[^:,]+))?: (?P<state>\w+)(?P<rest>.*)$"
)
NVIDIAS = re.compile(r"nvidia(-srv|-current|-open|-legacy|-tesla|-\d+\w*)*$")
RUNNING = re.compile(
    r"^NVRM version: NVIDIA UNIX (?P<open>Open Kernel Module for )?\S+\s+(?:Kernel Module\s+)?"
    r"(?P<version>\d+(?:\.\d+)+)",
    re.MULTILINE,
)
LICENCES = {"Dual MIT/GPL": "open", "NVIDIA": "proprietary"}
# The one option that the module shows under another name than NVreg_<name>.
SHOWN_AS = {"RestrictProfilingToAdminUsers": "RmProfilingAdminOnly"}


@dataclass(frozen=True, kw_only=True)
class Build:
    """A line of `dkms status`; `kernel` is empty for what is only added. `differs` where what is
    installed is not what was built.
    """

    name: str
    version: str
    kernel: str
    state: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Running:
    """The loaded module: 580.173.02, open or proprietary."""

    version: str
    flavour: str


def builds(text: str) -> tuple[Build, ...]:
    """NVIDIA's modules in `dkms status`, under all their names, of DKMS 2 and 3."""
    matches = (DKMS.match(line.strip()) for line in text.splitlines())
    return tuple(
        Build(
            name=line["name"],
            version=line["version"],
            kernel=line["kernel"] or "",
            state=line["state"],
            differs="Diff between built and installed" in line["rest"],
        )
        for line in matches
        if line and NVIDIAS.match(line["name"])
    )


def running(text: str) -> Running | None:
    """What /proc/driver/nvidia/version says; None where it says nothing."""
    match = RUNNING.search(text)
    if match is None:
        return None
    flavour = "open" if match["open"] else "proprietary"
    return Running(version=match["version"], flavour=flavour)


def flavour(licence: str) -> str:
    """open or proprietary, by `modinfo -F license`; empty for another."""
    return LICENCES.get(licence.strip(), "")


def secure_boot(text: str) -> bool | None:
    """`mokutil --sb-state`; None where there is none, or it cannot be told."""
    if "SecureBoot enabled" in text:
        return True
    if "SecureBoot disabled" in text or "EFI variables are not supported" in text:
        return False
    return None


def key_enrolled(text: str) -> bool | None:
    """`mokutil --test-key FILE`, by its words: it ends with 1 where the key *is* enrolled. None
    where it says neither.
    """
    if "is not enrolled" in text:
        return False
    if "is already enrolled" in text:
        return True
    return None


def parameters(text: str) -> dict[str, str]:
    """The options that the loaded module runs with, by the names it shows."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def pending_options(options: Iterable[str], loaded: dict[str, str]) -> list[str]:
    """Those of `NVreg_Name=value` that the loaded module shows with another value.

    One that it does not show is left out: it may be in force.
    """
    waiting = []
    for option in options:
        name, _, value = option.removeprefix("NVreg_").partition("=")
        shown = loaded.get(SHOWN_AS.get(name, name))
        if shown is not None and shown.strip('"') != value.strip('"'):
            waiting.append(option)
    return waiting
