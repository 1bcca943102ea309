"""Cards + system + settings -> driver, CUDA, NCCL and torch that go together, or a refusal.

Pure: tables in deeprig/catalog and what is handed in, nothing else. `resolve` never raises for
values of the right types.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from deeprig import catalog
from deeprig.catalog import branches, tables
from deeprig.catalog.gpus import Gpu, hidden_switches, identify
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.survey import Survey
from deeprig.resolver import (
    driver_choice,
    driver_notes,
    kernel_modules,
    tensorflow_choice,
    toolkit,
    torch_choice,
)
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import Request, join_cards, source_title
from deeprig.settings import Cuda, Driver, Rig

__all__ = ["Refusal", "StackPlan", "dated", "decide", "ended", "resolve"]

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class StackPlan:
    """What goes on a box, "none" for what does not, and why: a sentence for each choice.

    `torch` and `jax` are requirements; `torch_backend` is the index of torch's builds, such as
    cu126, and empty for the package index's own; `torch_cuda` is what it is built with. An entry of
    `cuda_packages` may carry a version as apt takes it, such as "libnccl2=2.*+cuda13.0". `modules`
    is dkms, prebuilt or none; the
    first of `driver_packages` has the driver's version. `pin` names the package that pins the
    branch, `pins` are (package glob, version pattern) for a preferences file of ours, `shut_out`
    are package globs that NVIDIA's repository must not give, `build_tools` what it gives beside
    the driver since the distribution's is too old for it. `repository` is a row of
    data/repositories.toml, `repository_folder` what follows its base for this box's processor.
    `kernel_metapackages` are held together with prebuilt modules. `notes` are what is good to know,
    `warnings` what to look after.
    """

    driver_branch: str = NONE
    module_flavour: str = NONE
    driver_source: str = NONE
    cuda_source: str = NONE
    cuda: str = NONE
    cudnn: str = NONE
    nccl: str = NONE
    torch: str = "torch"
    torch_backend: str = ""
    torch_cuda: str = NONE
    jax: str = "jax"
    modules: str = NONE
    module: str = NONE
    dkms_name: str = NONE
    library: str = NONE
    headers: tuple[str, ...] = ()
    driver_packages: tuple[str, ...] = ()
    cuda_packages: tuple[str, ...] = ()
    pin: str = ""
    pins: tuple[tuple[str, str], ...] = ()
    shut_out: tuple[str, ...] = ()
    build_tools: tuple[str, ...] = ()
    repository: str = ""
    repository_folder: str = ""
    kernel_metapackages: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        return (*self.headers, *self.driver_packages, *self.cuda_packages)

    def names(self, packages: Iterable[str] | None = None) -> tuple[str, ...]:
        """Names alone, without versions: of these packages, or of all of the plan's."""
        chosen = self.packages if packages is None else packages
        return tuple(package.partition("=")[0] for package in chosen)

    def with_choice(self, reasons: dict[str, str], **choices: Any) -> "StackPlan":
        """The plan with these choices too."""
        return replace(self, reasons={**self.reasons, **reasons}, **choices)

    def to_json(self) -> dict[str, Any]:
        parts = ("headers", "driver_packages", "cuda_packages")
        flat = {key: value for key, value in asdict(self).items() if key not in parts}
        return {**flat, "packages": list(self.packages)}


# As an LXC container of Proxmox: its /sys shows the host's cards, whether it may use them or not.
# https://github.com/community-scripts/ProxmoxVED/issues/2125
NOT_HERE = (
    "a container has its host's driver, and no card is looked for in one; a VM that is given the "
    "card can have all of it"
)


def decide(survey: Survey, rig: Rig) -> StackPlan | Refusal:
    """The plan for a surveyed box."""
    system = f"{survey.system}-{survey.version}"
    torch = rig.python.torch if rig.python else None
    python = rig.python.python if rig.python else ""
    if python == "system":
        rows = catalog.load("systems")["system"]
        own = (
            row for row in rows if (row["id"], row["version"]) == (survey.system, survey.version)
        )
        python = next(own, {"python": ""})["python"]
    # Another processor than these is refused before.
    architecture = catalog.load("systems")["architectures"].get(survey.architecture, "amd64")
    plan = resolve(
        system,
        survey.graphics,
        driver=rig.driver,
        cuda=rig.cuda,
        torch=torch,
        architecture=architecture,
        python=python,
    )
    if isinstance(plan, StackPlan) and survey.container and not _cards(survey.graphics, rig.driver):
        unseen = {"cuda": NOT_HERE} if rig.cuda else {}
        plan = plan.with_choice(unseen | ({"driver_branch": NOT_HERE} if rig.driver else {}))
    frameworks = rig.python.frameworks if rig.python else ()
    if isinstance(plan, Refusal) or "tensorflow" not in frameworks:
        return plan
    unable = tensorflow_choice.unable(_cards(survey.graphics, rig.driver))
    refusal = tensorflow_choice.refusal(unable, torch=plan.torch_cuda != NONE)
    return refusal or replace(plan, warnings=(*plan.warnings, *tensorflow_choice.warnings(unable)))


def _cards(graphics: GpuFacts, driver: Driver | None) -> tuple[Gpu, ...]:
    """Those in the box, and those to prepare for."""
    return (*graphics.gpus, *(identify(pci_id) for pci_id in (driver.gpus if driver else ())))


def resolve(
    system: str,
    graphics: GpuFacts,
    *,
    driver: Driver | None,
    cuda: Cuda | None,
    torch: str | None = None,
    architecture: str = "amd64",
    python: str = "",
    today: date | None = None,
) -> StackPlan | Refusal:
    """What goes on a box of this system with these cards, or why nothing does; `architecture` is
    Debian's name; `python` the environments' version, "" for any; `today` is the day that decides
    which branches are young or have ended.
    """
    request = Request(
        system=system,
        cards=_cards(graphics, driver),
        graphics=graphics,
        driver=driver,
        cuda=cuda,
        torch=torch,
        architecture=architecture,
        python=python,
        today=today or date.today(),
    )
    plan: StackPlan | Refusal = StackPlan()
    for step in (_driver, _frameworks, _toolkit):
        if isinstance(plan, StackPlan):
            plan = step(plan, request)
    return plan


def ended(plan: StackPlan, today: date) -> list[str]:
    """What of the plan gets no fixes any more on that day, a sentence each."""
    end = branches.end(plan.driver_branch)
    if end is None or end >= today:
        return []
    return [f"NVIDIA's fixes for driver {plan.driver_branch} ended on {end}; take a newer branch"]


def dated(plan: StackPlan, today: date) -> list[str]:
    """What of the plan, and of the tables that it was made from, is too old on that day."""
    return [*ended(plan, today), *tables.age(today)]


def _driver(plan: StackPlan, request: Request) -> StackPlan | Refusal:
    settings = request.driver
    if settings is None:
        return plan.with_choice(
            {"driver_branch": "Rig.driver is None: what is there is left alone"}
        )
    if not request.cards:
        why = "there is no NVIDIA card in the box; Driver(gpus=...) prepares for one"
        return plan.with_choice({"driver_branch": why})
    own = driver_choice.left_alone(request)
    if own:
        return plan.with_choice({"driver_branch": own})
    choice = driver_choice.choose(request)
    if isinstance(choice, Refusal):
        return choice
    modules, graphics = choice.row[choice.flavour], request.graphics
    prebuilt, nvidia = choice.modules == "prebuilt", choice.source == "nvidia"
    repository = request.repository if nvidia else None
    return plan.with_choice(
        {
            "driver_branch": driver_choice.why_branch(request, choice),
            "module_flavour": driver_choice.why_flavour(request, choice),
            "driver_source": _why_source(request, choice.modules),
        },
        driver_branch=choice.branch,
        module_flavour=choice.flavour,
        driver_source=choice.source,
        modules=choice.modules,
        module=modules["module"],
        dkms_name=modules["dkms_name"],
        library=choice.library,
        headers=() if prebuilt else kernel_modules.headers(graphics),
        driver_packages=choice.packages(request),
        pin=choice.pin,
        pins=_own_pins(choice) if nvidia and not choice.pin else (),
        build_tools=() if prebuilt or not nvidia else kernel_modules.build_tools(request.system),
        repository=repository["name"] if repository else "",
        repository_folder=_folder(repository, request),
        kernel_metapackages=kernel_modules.metapackages(graphics, choice.kernels)
        if prebuilt
        else (),
        notes=(*plan.notes, *driver_notes.of(request, choice)),
        warnings=_warnings(request),
    )


def _why_source(request: Request, modules: str) -> str:
    settings, where = request.driver, source_title(request.system, request.driver_source)
    ready = {
        "prebuilt": "its modules are built and signed for this kernel",
        "dkms": "its modules are built on the box, by DKMS",
    }[modules]
    if settings and settings.source:
        return f"{where}, by Driver.source; {ready}"
    if request.subnet_manager:
        return f"{where}, for nvlsm is there alone; {ready}"
    return f"{where}, as is usual there; {ready}"


def _own_pins(found: driver_choice.Choice) -> tuple[tuple[str, str], ...]:
    """Where NVIDIA has no package that keeps to the branch: apt does it by the version."""
    names = " ".join(catalog.load("driver_packages")["shut_out"]["packages"])
    return ((names, f"{found.branch}.*"),)


def _warnings(request: Request) -> tuple[str, ...]:
    sentences = []
    if request.unknown:
        ids = ", ".join(card.id for card in request.unknown)
        sentences.append(
            f"{ids}: in no table that deeprig has; the driver is what the settings or apt say"
        )
    board = None if request.switches else hidden_switches(request.cards)
    if board:
        sentences.append(
            f"this is {board['means']}; until {board['needs']} are there CUDA says 802 (system not "
            "yet initialized); deeprig does not install them, verify says whether the fabric is up"
        )
    return tuple(sentences)


def _running(plan: StackPlan, request: Request) -> str:
    """The branch that will run: the planned one, else the one that is loaded, or ""."""
    if plan.driver_packages:
        return plan.driver_branch
    return branches.of_version(request.graphics.loaded_driver)


def _frameworks(plan: StackPlan, request: Request) -> StackPlan | Refusal:
    cards, driver = request.cards, _running(plan, request)
    if not cards:
        return plan.with_choice({"torch": "there is no card: the newest one, on the CPU"})
    toolkits = toolkit.covered(request, driver)
    build = torch_choice.choose(
        request.known, driver, request.torch, toolkits, request.architecture, request.python
    )
    if isinstance(build, Refusal):
        return build
    if build is None:
        why = f"no torch has kernels for {join_cards(cards)}{request.unusual}: it runs on the CPU"
        return plan.with_choice({"torch": why})
    return plan.with_choice(
        {"torch": torch_choice.why(build, request.known, driver)},
        torch=torch_choice.requirement(build),
        torch_backend=build["backend"],
        torch_cuda=build["cuda"],
        jax=torch_choice.jax(request.known, driver, request.python),
    )


def _toolkit(plan: StackPlan, request: Request) -> StackPlan | Refusal:
    settings = request.cuda
    if settings is None:
        return plan.with_choice({"cuda": "Rig.cuda is None: no toolkit"})
    if not request.cards and request.driver:
        return plan.with_choice({"cuda": "there is no NVIDIA card in the box"})
    choice = toolkit.choose(request, _running(plan, request), plan.torch_cuda)
    if isinstance(choice, Refusal):
        if settings != Cuda(mirror=settings.mirror, repo_key=settings.repo_key):
            return choice
        # Nobody asked for a toolkit in particular, and most can do without.
        warned = (*plan.warnings, f"no CUDA toolkit: {choice.sentence}")
        return plan.with_choice({"cuda": choice.sentence}, warnings=warned)
    nvidia = settings.source == "nvidia"
    row = request.repository if nvidia else None
    guarded = nvidia and plan.driver_source == "distro"
    shut_out = catalog.load("driver_packages")["shut_out"]["packages"] if guarded else ()
    where = source_title(request.system, settings.source)
    return plan.with_choice(
        {**choice.reasons, "cuda_source": f"{where}, by Cuda.source"},
        cuda=choice.cuda,
        cuda_source=settings.source,
        cudnn=choice.cudnn,
        nccl=choice.nccl,
        cuda_packages=choice.packages,
        notes=(*plan.notes, *choice.notes),
        pins=(*plan.pins, *choice.pins),
        shut_out=tuple(shut_out),
        repository=row["name"] if row else plan.repository,
        repository_folder=_folder(row, request) or plan.repository_folder,
    )


def _folder(row: dict[str, Any] | None, request: Request) -> str:
    return f"{row['directory']}/{row['architectures'][request.architecture]}" if row else ""
