"""Which CUDA toolkit, cuDNN and NCCL go with a set of cards, their driver and their torch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from deeprig import catalog
from deeprig.catalog import branches, gpu_limits, package_names
from deeprig.catalog.branches import number
from deeprig.resolver import apt_index, driver_choice, library_choice
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import Request, join_cards, source_title, system_title
from deeprig.ui.words import join_words

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Toolkit:
    """A toolkit and its libraries; `packages` and `pins` are as in the plan."""

    cuda: str
    cudnn: str
    nccl: str
    packages: tuple[str, ...]
    pins: tuple[tuple[str, str], ...] = ()
    reasons: dict[str, str]
    notes: tuple[str, ...] = ()


def choose(request: Request, driver: str, torch_cuda: str) -> Toolkit | Refusal:
    """What `Cuda` asks for; `driver` is the branch that will run, "" for none or an unknown one,
    `torch_cuda` the CUDA that torch was built with.
    """
    if request.cuda and request.cuda.source == "distro":
        return _of_the_archive(request, driver)
    return _of_nvidia(request, driver, torch_cuda)


def covered(request: Request, driver: str) -> list[str]:
    """The CUDA versions that NVIDIA's repository has for this box, that fit it, and that are no
    newer than the driver's own.
    """
    repository = request.repository
    if request.cuda is None or request.cuda.source != "nvidia" or repository is None:
        return []
    versions: list[str] = repository["toolkits"]
    return [
        version
        for version in versions
        if not _objection(request, version, driver)
        and (not driver or branches.covers(driver, version))
    ]


def _of_the_archive(request: Request, driver: str) -> Toolkit | Refusal:
    rows: list[Row] = catalog.load("cuda")["archive"]
    row = next((r for r in rows if r["system"] == request.system), None)
    version = request.cuda and request.cuda.version
    if row is None:
        return Refusal(
            refusal=f"deeprig knows no CUDA in {source_title(request.system, 'distro')}.",
            instead="Cuda(), from NVIDIA's repository, or Rig(cuda=None).",
        )
    if version and version != row["cuda"]:
        return Refusal(
            refusal=f"Cuda.version is {version!r}, and {source_title(request.system, 'distro')} "
            f"has {row['cuda']}.",
            instead='Cuda(version=None), or Cuda(source="nvidia").',
        )
    why_not = _objection(request, row["cuda"], driver)
    if why_not:
        return Refusal(refusal=why_not, instead="Cuda(), from NVIDIA's repository.")
    return Toolkit(
        cuda=row["cuda"],
        cudnn="none",
        nccl=row["nccl"],
        packages=tuple(row["packages"]),
        reasons={
            "cuda": f"{row['cuda']} is what {source_title(request.system, 'distro')} has"
            f"{_and_it_fits(request, driver)}",
            "nccl": f"the archive has {'none' if row['nccl'] == 'none' else 'it'}",
            "cudnn": "the archive has none for this CUDA; frameworks bring their own",
        },
        notes=_what_is_lost(request, row["cuda"], driver),
    )


def _of_nvidia(request: Request, driver: str, torch_cuda: str) -> Toolkit | Refusal:
    repository = request.repository
    version = request.cuda.version if request.cuda else None
    if repository is None:
        return Refusal(
            refusal="NVIDIA has no repository that deeprig knows for "
            f"{system_title(request.system)}{request.unusual}.",
            instead="Rig(cuda=None); frameworks such as torch bring their own CUDA.",
        )
    rows = [row for row in _toolkits() if row["version"] in repository["toolkits"]]
    if version in apt_index.new_toolkits(request.graphics):
        # Of a known major: what compiles for a card goes on doing so until the next one.
        rows.append({"version": version, "nccl": [f"2.*+cuda{version.partition('.')[0]}.*"]})
    fitting = [row for row in rows if not _objection(request, row["version"], driver)]
    of_version = [row for row in fitting if version in (None, row["version"])]
    for row in _best_first(of_version, driver, torch_cuda):
        if choice := _with_libraries(request, row, driver, torch_cuda):
            return choice
    return _none(request, driver, rows, fitting, version)


def _best_first(rows: list[Row], driver: str, torch_cuda: str) -> list[Row]:
    """torch's own CUDA, then those of the same major number, then the others; of each the newest
    that is no newer than the driver's own CUDA, then the nearest above it.
    """
    major = torch_cuda.partition(".")[0]

    def key(row: Row) -> tuple[bool, bool, bool, list[int]]:
        version: str = row["version"]
        same = version.partition(".")[0] == major
        covered = not driver or branches.covers(driver, version)
        return (
            version == torch_cuda, same, covered,
            [part if covered else -part for part in number(version)],
        )  # fmt: skip

    return sorted(rows, key=key, reverse=True)


def _with_libraries(request: Request, row: Row, driver: str, torch_cuda: str) -> Toolkit | None:
    """The toolkit, if the source has it, with the cuDNN and NCCL that the source has for it."""
    cuda, system, graphics = row["version"], request.system, request.graphics
    parts = request.cuda.parts if request.cuda else "build"
    table = catalog.load("cuda")
    names = package_names.filled(table["packages"][parts], cuda=cuda) if parts != "none" else ()
    if not apt_index.available(graphics, system, "nvidia", names):
        return None
    cudnn = library_choice.cudnn(request, cuda)
    nccl = library_choice.nccl(request, row)
    why = f"{cuda} is torch's own" if cuda == torch_cuda else f"{cuda} is the newest that fits"
    if request.cuda and request.cuda.version:
        why = f"{cuda} is asked for"
    elif driver and not branches.covers(driver, cuda):
        why = f"{cuda} is the nearest to the driver's own"
    return Toolkit(
        cuda=cuda if parts != "none" else "none",
        cudnn=cudnn.version,
        nccl=nccl.version,
        packages=(*names, *cudnn.packages, *nccl.packages),
        pins=(*cudnn.pins, *nccl.pins),
        reasons={
            "cuda": f"{why}{_and_it_fits(request, driver)}"
            if parts != "none"
            else f'Cuda.parts is "none": only the libraries that go with CUDA {cuda}',
            "cudnn": cudnn.why,
            "nccl": nccl.why,
        },
        notes=_what_is_lost(request, cuda, driver) if parts != "none" else (),
    )


def _objection(request: Request, cuda: str, driver: str) -> str:
    """Why this toolkit is not for these cards or this driver; empty where it is."""
    return next(_objections(request, cuda, driver), "")


def _objections(request: Request, cuda: str, driver: str) -> Iterator[str]:
    for card in request.known:
        border = gpu_limits.of(card).cuda_border(cuda)
        if border:
            yield f"CUDA {cuda} does not compile for {card}, whose CUDA {border}."
    if driver and not branches.runs(driver, cuda):
        major = branches.cuda(driver).partition(".")[0]
        yield f"driver {driver} runs CUDA {major} and older, and CUDA {cuda} is newer."


def _and_it_fits(request: Request, driver: str) -> str:
    cards = (
        f"compiles for {join_cards(request.cards)}" if request.cards else "no card is in the box"
    )
    limit = f", and the driver's own is {branches.cuda(driver)}" if driver else ""
    return f"; {'it ' if request.cards else ''}{cards}{limit}"


def _what_is_lost(request: Request, cuda: str, driver: str) -> tuple[str, ...]:
    """What a toolkit beyond the driver's own CUDA costs, where it is one of the same major."""
    if not driver or branches.covers(driver, cuda):
        return ()
    own = branches.cuda(driver)
    newer = [
        name
        for name in sorted(_newer_drivers(request, driver), key=list(branches.known()).index)
        if branches.covers(name, cuda) and not branches.has_ended(name, request.today)
    ]
    way = f'; Driver(branch="{newer[0]}") has {branches.cuda(newer[0])} itself' if newer else ""
    return (
        f"CUDA {cuda} is newer than driver {driver}'s own {own}, which runs it all the same: "
        "compile for the GPU with `nvcc -arch=native`, for PTX that is compiled at run time (plain "
        f"`nvcc`) fails with error 222, and so does what is new after {own}{way}.",
    )


def _newer_drivers(request: Request, driver: str) -> list[str]:
    """Branches of the same source, newer than this one, that could be had instead of it."""
    settings = request.driver
    if settings is None or not request.cards:
        return []
    settings_of = (replace(settings, branch=name, flavour=None) for name in request.branches())
    choices = (driver_choice.first(replace(request, driver=each)) for each in settings_of)
    return [each.branch for each in choices if each and int(each.branch) > int(driver)]


def _none(
    request: Request, driver: str, there: list[Row], fitting: list[Row], asked: str | None
) -> Refusal:
    """Why the repository has no toolkit for this box, and what comes nearest."""
    where = source_title(request.system, "nvidia")
    versions = join_words([row["version"] for row in there])
    ready = [row for row in fitting if _with_libraries(request, row, driver, "")]
    nearest = next((row["version"] for row in _best_first(ready, driver, "")), "")
    instead = f'Cuda(version="{nearest}").' if asked and nearest else _without(request, driver)
    if asked and asked not in [row["version"] for row in there]:
        what = f"Cuda.version is {asked!r}, and deeprig knows CUDA {versions} in {where}."
    elif asked and (why := _objection(request, asked, driver)):
        what = why
    elif fitting:
        what = f"The index of {where} has no CUDA toolkit that fits."
    else:
        first = _objection(request, there[0]["version"], driver) if there else ""
        what = f"deeprig knows CUDA {versions} in {where}, and none of them fits: {first}"
    return Refusal(refusal=what, instead=instead)


def _without(request: Request, driver: str) -> str:
    """A newer driver where one would do, else none; frameworks do not need the toolkit."""
    for branch in _newer_drivers(request, driver) if driver else ():
        repository = request.repository
        if repository and any(
            not _objection(request, version, branch) for version in repository["toolkits"]
        ):
            return (
                f'Driver(branch="{branch}"), whose CUDA is {branches.cuda(branch)}; or '
                "Rig(cuda=None): frameworks such as torch bring their own CUDA."
            )
    return "Rig(cuda=None); frameworks such as torch bring their own CUDA."


def _toolkits() -> list[Row]:
    rows: list[Row] = catalog.load("cuda")["toolkit"]
    return rows
