"""Which cuDNN and NCCL go with a toolkit."""

from dataclasses import dataclass
from typing import Any

from deeprig import catalog
from deeprig.catalog import package_names
from deeprig.resolver import apt_index
from deeprig.resolver.request import Request, join_cards


@dataclass(frozen=True, kw_only=True)
class Library:
    """`packages` and `pins` are as in the plan; none where the source has none."""

    version: str
    packages: tuple[str, ...]
    pins: tuple[tuple[str, str], ...]
    why: str


def cudnn(request: Request, cuda: str) -> Library:
    """The newest for this CUDA, or the last that has kernels for the cards."""
    table = catalog.load("cuda")
    names = package_names.filled(table["packages"]["cudnn"], cuda=cuda)
    old = [card for card in request.known if card.architecture in table["cudnn"]["architectures"]]
    version = table["cudnn"]["package_version"] if old else ""
    packages = tuple(f"{name}={version}" for name in names) if old else names
    if not _has(request, packages):
        return Library(version="none", packages=(), pins=(), why="the index has none for this CUDA")
    if old:
        return Library(
            version=table["cudnn"]["version"],
            packages=packages,
            pins=((" ".join(names), version),),
            why=f"{table['cudnn']['version']} is the last with kernels for {join_cards(old)}",
        )
    major = cuda.partition(".")[0]
    return Library(version="9", packages=packages, pins=(), why=f"the newest 9 for CUDA {major}")


def nccl(request: Request, row: dict[str, Any]) -> Library:
    """The newest build for one of the CUDAs that this row of toolkits goes with.

    One pattern for all of them: a plan that was made before the index was listed holds afterwards.
    """
    pattern = _any_of(row["nccl"])
    names = catalog.load("cuda")["packages"]["nccl"]
    packages = tuple(f"{name}={pattern}" for name in names)
    if not _has(request, packages):
        return Library(version="none", packages=(), pins=(), why="the index has none for this CUDA")
    return Library(
        version=pattern,
        packages=packages,
        pins=((" ".join(names), pattern),),
        why=f"a build for CUDA {' or '.join(each.rpartition('cuda')[2] for each in row['nccl'])}; "
        "the newest of all is not",
    )


def _any_of(patterns: list[str]) -> str:
    """2.*+cuda13.[20] for 2.*+cuda13.2 and 2.*+cuda13.0; apt takes fnmatch(3)'s brackets too."""
    stem = patterns[0][:-1]
    if len(patterns) == 1:
        return patterns[0]
    return f"{stem}[{''.join(pattern.removeprefix(stem) for pattern in patterns)}]"


def _has(request: Request, packages: tuple[str, ...]) -> bool:
    pairs = (package.partition("=") for package in packages)
    return all(
        apt_index.has_version(request.graphics, request.system, "nvidia", name, pattern or "*")
        for name, _, pattern in pairs
    )
