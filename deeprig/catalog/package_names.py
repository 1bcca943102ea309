"""What packages are called, by where they come from."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from deeprig import catalog
from deeprig.catalog import branches

FLAVOURS = ("open", "proprietary")
Row = dict[str, Any]


def driver_set(system: str, source: str, branch: str, modules: str) -> Row | None:
    """The row of driver_packages.toml for a branch; `modules` is prebuilt or dkms."""
    for row in catalog.load("driver_packages")["set"]:
        if system in row["systems"] and (row["source"], row["modules"]) == (source, modules):
            last = row.get("last", branch)
            if int(row["first"]) <= int(branch) <= int(last):
                fitting: Row = row
                return fitting
    return None


def of_the_switches(row: Row, branch: str, *, subnet_manager: bool) -> list[str]:
    """What a box with an NVSwitch needs beside the driver, with gaps; none where nobody has it."""
    later = {first: names for first, names in row.get("nvswitch_from", {}).items()
             if int(branch) >= int(first)}  # fmt: skip
    names: list[str] = later[max(later, key=int)] if later else row["nvswitch"]
    if not subnet_manager:
        return list(names)
    return [*names, *row["nvlsm"]] if names and row.get("nvlsm") else []


def filled(
    names: Iterable[str], *, branch: str = "", kernels: Iterable[str] = (), cuda: str = ""
) -> tuple[str, ...]:
    """The names with their gaps filled in, those of kernels once for each."""
    full = []
    for name in names:
        for kernel in dict.fromkeys(kernels) if "{kernel}" in name else ("",):
            full.append(
                name.format(
                    branch=branch,
                    kernel=kernel,
                    cuda=cuda.replace(".", "-"),
                    major=cuda.partition(".")[0],
                )
            )
    return tuple(full)


def cuda_names(cuda: str, parts: str) -> tuple[str, ...]:
    """NVIDIA's toolkit with cuDNN and NCCL; `parts` is build or full."""
    table = catalog.load("cuda")["packages"]
    return filled((*table[parts], *table["cudnn"], *table["nccl"]), cuda=cuda)


@cache
def of(system: str, source: str) -> frozenset[str]:
    """Every name that a plan for this system may take from this source."""
    names = {*_drivers(system, source)}
    if source == "distro":
        rows = [row for row in catalog.load("cuda")["archive"] if row["system"] == system]
        names |= {name for row in rows for name in row["packages"]}
    repository = branches.repository(system) if source == "nvidia" else None
    for cuda in repository["toolkits"] if repository else ():
        names |= {*cuda_names(cuda, "build"), *cuda_names(cuda, "full")}
    return frozenset(names)


def _drivers(system: str, source: str) -> Iterable[str]:
    kernels = catalog.load("driver_packages")["kernels"].get(system, ())
    for branch in branches.at(system, source):
        for modules in ("prebuilt", "dkms"):
            row = driver_set(system, source, branch, modules)
            if row is None:
                continue
            names = [*row["nvswitch"], *of_the_switches(row, branch, subnet_manager=True)]
            names += [row["pin"]] if branch in row.get("pinned", ()) else []
            for flavour in FLAVOURS:
                if flavour in row and flavour in branches.known()[branch]["flavours"]:
                    names += [*row[flavour]["packages"], *row[flavour]["desktop"]]
            yield from filled(names, branch=branch, kernels=kernels)
