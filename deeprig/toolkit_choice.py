"""Which CUDA toolkit, cuDNN and NCCL go with a set of cards, their driver and their torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deeprig import branches, data, library_choice, limits, offers, package_names
from deeprig.branches import number
from deeprig.question import Question, called, listed, named, place
from deeprig.refusal import Refusal

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


def choose(question: Question, driver: str, torch_cuda: str) -> Toolkit | Refusal:
    """What `Cuda` asks for; `driver` is the branch that will run, "" for none or an unknown one,
    `torch_cuda` the CUDA that torch was built with.
    """
    if question.cuda and question.cuda.source == "distro":
        return _of_the_archive(question, driver)
    return _of_nvidia(question, driver, torch_cuda)


def fitting(question: Question, driver: str) -> list[str]:
    """The CUDA versions that NVIDIA's repository has for this box, and that fit it."""
    repository = question.repository
    if question.cuda is None or question.cuda.source != "nvidia" or repository is None:
        return []
    versions: list[str] = repository["toolkits"]
    return [version for version in versions if not _objection(question, version, driver)]


def _of_the_archive(question: Question, driver: str) -> Toolkit | Refusal:
    rows: list[Row] = data.load("cuda")["archive"]
    row = next((r for r in rows if r["system"] == question.system), None)
    asked = question.cuda and question.cuda.version
    if row is None:
        return Refusal(
            refusal=f"deeprig knows no CUDA in {place(question.system, 'distro')}.",
            instead="Cuda(), from NVIDIA's repository, or Rig(cuda=None).",
        )
    if asked and asked != row["cuda"]:
        return Refusal(
            refusal=f"Cuda.version is {asked!r}, and {place(question.system, 'distro')} has "
            f"{row['cuda']}.",
            instead='Cuda(version=None), or Cuda(source="nvidia").',
        )
    why_not = _objection(question, row["cuda"], driver)
    if why_not:
        return Refusal(refusal=why_not, instead="Cuda(), from NVIDIA's repository.")
    return Toolkit(
        cuda=row["cuda"],
        cudnn="none",
        nccl=row["nccl"],
        packages=tuple(row["packages"]),
        reasons={
            "cuda": f"{row['cuda']} is what {place(question.system, 'distro')} has"
            f"{_and_it_fits(question, driver)}",
            "nccl": f"the archive has {'none' if row['nccl'] == 'none' else 'it'}",
            "cudnn": "the archive has none for this CUDA; frameworks bring their own",
        },
    )


def _of_nvidia(question: Question, driver: str, torch_cuda: str) -> Toolkit | Refusal:
    repository = question.repository
    asked = question.cuda.version if question.cuda else None
    if repository is None:
        return Refusal(
            refusal=f"NVIDIA has no repository that deeprig knows for {called(question.system)}"
            f"{question.unusual}.",
            instead="Rig(cuda=None); frameworks such as torch bring their own CUDA.",
        )
    there = [row for row in _toolkits() if row["version"] in repository["toolkits"]]
    fitting = [row for row in there if not _objection(question, row["version"], driver)]
    wanted = [row for row in fitting if asked in (None, row["version"])]
    for row in _best_first(wanted, torch_cuda):
        if found := _with_libraries(question, row, driver, torch_cuda):
            return found
    return _none(question, driver, there, fitting, asked)


def _best_first(rows: list[Row], torch_cuda: str) -> list[Row]:
    """torch's own CUDA, then the newest of the same major number, then the newest."""
    major = torch_cuda.partition(".")[0]

    def key(row: Row) -> tuple[bool, bool, tuple[int, ...]]:
        version: str = row["version"]
        same = version.partition(".")[0] == major
        return version == torch_cuda, same, number(version)

    return sorted(rows, key=key, reverse=True)


def _with_libraries(question: Question, row: Row, driver: str, torch_cuda: str) -> Toolkit | None:
    """The toolkit, if the source has it, with the cuDNN and NCCL that the source has for it."""
    cuda, system, graphics = row["version"], question.system, question.graphics
    parts = question.cuda.parts if question.cuda else "build"
    table = data.load("cuda")
    names = package_names.filled(table["packages"][parts], cuda=cuda) if parts != "none" else ()
    if not offers.has(graphics, system, "nvidia", names):
        return None
    cudnn = library_choice.cudnn(question, cuda)
    nccl = library_choice.nccl(question, row)
    why = f"{cuda} is torch's own" if cuda == torch_cuda else f"{cuda} is the newest that fits"
    return Toolkit(
        cuda=cuda if parts != "none" else "none",
        cudnn=cudnn.version,
        nccl=nccl.version,
        packages=(*names, *cudnn.packages, *nccl.packages),
        pins=(*cudnn.pins, *nccl.pins),
        reasons={
            "cuda": f"{why}{_and_it_fits(question, driver)}"
            if parts != "none"
            else f'Cuda.parts is "none": only the libraries that go with CUDA {cuda}',
            "cudnn": cudnn.why,
            "nccl": nccl.why,
        },
    )


def _objection(question: Question, cuda: str, driver: str) -> str:
    """Why this toolkit is not for these cards or this driver; empty where it is."""
    return next(_objections(question, cuda, driver), "")


def _objections(question: Question, cuda: str, driver: str) -> Iterator[str]:
    for card in question.known:
        border = limits.of(card).cuda_border(cuda)
        if border:
            yield f"CUDA {cuda} does not compile for {card}, whose CUDA {border}."
    if driver and number(cuda) > number(branches.cuda(driver)):
        yield f"CUDA {cuda} is more than driver {driver} runs, which is {branches.cuda(driver)}."


def _and_it_fits(question: Question, driver: str) -> str:
    cards = f"compiles for {named(question.cards)}" if question.cards else "no card is in the box"
    limit = f", and driver {driver} runs up to {branches.cuda(driver)}" if driver else ""
    return f"; {'it ' if question.cards else ''}{cards}{limit}"


def _none(
    question: Question, driver: str, there: list[Row], fitting: list[Row], asked: str | None
) -> Refusal:
    """Why the repository has no toolkit for this box, and what comes nearest."""
    where = place(question.system, "nvidia")
    versions = listed([row["version"] for row in there])
    nearest = max((row["version"] for row in fitting), key=number, default="")
    instead = f'Cuda(version="{nearest}").' if asked and nearest else _without(question, driver)
    if asked and asked not in [row["version"] for row in there]:
        what = f"Cuda.version is {asked!r}, and {where} has {versions}."
    elif asked and (why := _objection(question, asked, driver)):
        what = why
    elif fitting:
        what = f"The index of {where} has no CUDA toolkit that fits."
    else:
        first = _objection(question, there[0]["version"], driver) if there else ""
        what = f"{where} has CUDA {versions}, and none of them fits: {first}"
    return Refusal(refusal=what, instead=instead)


def _without(question: Question, driver: str) -> str:
    """A newer driver where one would do, else none; frameworks do not need the toolkit."""
    source = question.driver_source
    for branch in question.branches(source) if driver else ():
        if not all(limits.of(card).drives(branch) for card in question.known):
            continue
        repository = question.repository
        if repository and any(
            not _objection(question, version, branch) for version in repository["toolkits"]
        ):
            return (
                f'Driver(branch="{branch}"), whose CUDA is {branches.cuda(branch)}; or '
                "Rig(cuda=None): frameworks such as torch bring their own CUDA."
            )
    return "Rig(cuda=None); frameworks such as torch bring their own CUDA."


def _toolkits() -> list[Row]:
    rows: list[Row] = data.load("cuda")["toolkit"]
    return rows
