"""apt and a driver: what it would do is compared with the plan, package by package, beforehand."""

import re
from typing import Any, NamedTuple

from deeprig_box.lib import bounded
from deeprig_box.nvidia import driver
from deeprig_box.nvidia.steps import QUIET

APT_GET = ["apt-get", "-q", "-y", "--no-install-recommends"]

DRIVER_VERSION = re.compile(r"^\d{3}\.\d+(\.\d+)?$")
# Debian's archive gives these versions of their own.
HELPERS = ("nvidia-modprobe", "nvidia-persistenced", "nvidia-settings", "nvidia-xconfig")
DESKTOP = re.compile(
    r"^(xserver-.*|nvidia-driver|nvidia-driver-full|nvidia-settings|gdm3|lightdm)$"
)
# Whoever installs one of these gets whatever driver is newest.
NEVER = re.compile(r"^(cuda|cuda-\d+-\d+|cuda-runtime-.*|cuda-drivers.*|nvidia-open)$")


class Arrival(NamedTuple):
    """A package that apt would install; `old` is the version that it would replace, or ""."""

    name: str
    old: str
    new: str
    origin: str


class Simulation(NamedTuple):
    arrives: list[Arrival]
    removed: list[str]
    why_not: str


def simulated(names: list[str]) -> Simulation:
    """What `apt-get install` of these would do."""
    done = bounded.run([*APT_GET, "-s", "install", *names], environment=QUIET)
    return read(done.out, done.err if done.code else "")


def read(said: str, errors: str = "") -> Simulation:
    """What apt's simulation printed."""
    rows = re.findall(r"^Inst (\S+)(?: \[(\S+)\])? \((\S+) (.*?) ?\[\w+\]\)", said, re.MULTILINE)
    removed = re.findall(r"^Remv (\S+)", said, re.MULTILINE)
    unmet = re.findall(r"^ (\S+ : (?:Pre)?Depends: .+)$", said + errors, re.MULTILINE)
    complaints = re.findall(r"^E: (.+)$", errors, re.MULTILINE)
    why_not = (unmet or complaints or [""])[0].strip() if errors else ""
    return Simulation([Arrival(*row) for row in rows], removed, why_not)


def objection(would: Simulation, names: list[str], plan: dict[str, Any], held: set[str]) -> str:
    """Why apt must not do that, in a sentence; "" where it is as planned."""
    if would.why_not:
        return f"apt cannot do it: {would.why_not}"
    if would.removed:
        return f"apt would remove {' '.join(would.removed)}"
    arriving = {arrival.name for arrival in would.arrives}
    missing = [name for name in names if name.partition("=")[0] not in arriving]
    if missing:
        return f"apt would not install {' '.join(missing)}"
    for arrival in would.arrives:
        if why := unplanned(arrival, plan, held):
            return why
    return uneven(would, plan)


def uneven(would: Simulation, plan: dict[str, Any]) -> str:
    """What must be of the driver's very build, and would not be; "" where all is."""
    versions = driver.installed() | {arrival.name: arrival.new for arrival in would.arrives}
    version = driver.upstream(versions.get(plan["packages"][0].partition("=")[0], ""))
    for name, its in versions.items() if version else ():
        if driver.OF_THE_BUILD.match(name) and driver.upstream(its) != version:
            return (
                f"{name} would be {its} beside driver {version}, and they must be of one build; "
                "wait until the archive has both"
            )
    return ""


def unplanned(arrival: Arrival, plan: dict[str, Any], held: set[str]) -> str:
    """Why this package must not come; "" where it may."""
    name, old, new, origin = arrival
    planned = {entry.partition("=")[0] for entry in plan["packages"]}
    if old and name in held:
        return f"apt would move {name}, which is held, from {old} to {new}"
    if DESKTOP.match(name) and name not in planned:
        return f"apt would bring {name} along, which is of a desktop"
    if NEVER.match(name) and name not in planned:
        return f"apt would bring {name} along, which replaces drivers"
    if not driver.is_of_a_driver(name):
        return ""
    if name.startswith(driver.PREBUILT):
        right = name.startswith(f"{driver.PREBUILT}{plan['branch']}-")
        return "" if right else f"apt would bring {name}, and the plan is {plan['branch']}"
    if not DRIVER_VERSION.match(driver.upstream(new)):
        return ""
    distribution = plan["source"] == "distro"
    if distribution and name in HELPERS:
        return ""
    if old:
        return f"apt would move {name} from {old} to {new}"
    if not new.rpartition(":")[2].startswith(f"{plan['branch']}."):
        return f"apt would bring {name} {new}, and the plan is {plan['branch']}"
    if ("NVIDIA" in origin) == distribution:
        return f"apt would bring {name} {new} from {origin}, which the plan does not"
    return ""


def held() -> set[str]:
    return set(driver.said("apt-mark", "showhold").split())


def candidate(name: str, *options: str) -> str:
    """The version that apt would take."""
    policy = driver.said("apt-cache", *options, "policy", name)
    match = re.search(r"^  Candidate: (\S+)$", policy, re.M)
    return "" if match is None or match[1] == "(none)" else match[1]


def offered(name: str) -> list[str]:
    """The versions that apt could take, newest first."""
    rows = [line.split("|") for line in driver.said("apt-cache", "madison", name).splitlines()]
    return list(dict.fromkeys(row[1].strip() for row in rows if len(row) > 1))


def is_of_branch(name: str, version: str, branch: str) -> bool:
    """Whether a package of this version may be in a driver of that branch."""
    if name.startswith(driver.PREBUILT):
        return bool(version) and name.startswith(f"{driver.PREBUILT}{branch}-")
    its = driver.upstream(version)
    return its.startswith(f"{branch}.") or (bool(its) and not DRIVER_VERSION.match(its))


def as_installed(names: list[str], version: str) -> list[str]:
    """With the exact version, where a part is to come to a driver that is there already; else that
    of what must be of one build with the driver.
    """
    if not version:
        coming = driver.upstream(candidate(names[0]))
        own = [name for name in names if driver.OF_THE_BUILD.match(name)]
        exact = dict(zip(own, as_installed(own, coming), strict=True)) if coming else {}
        return [exact.get(name, name) for name in names]
    same = {
        name: next((v for v in offered(name) if driver.upstream(v) == version), "")
        for name in names
    }
    return [f"{name}={same[name]}" if same[name] else name for name in names]
