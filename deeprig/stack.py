"""Cards + system + settings -> driver, CUDA, NCCL and torch that go together, or a refusal.

Pure: tables in deeprig/data and what is handed in, nothing else. `resolve` never raises for
values of the right types.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deeprig import data, driver_choice, toolkit_choice
from deeprig.driver_choice import Refusal
from deeprig.gpus import Gpu, Graphics, identify
from deeprig.settings import Cuda, Driver, Rig
from deeprig.survey import Survey

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What goes on a box, "none" for what does not, and why: a sentence for each choice.

    `torch` and `jax` are requirements; `torch_backend` is the index of torch's builds, such as
    cu126, and empty for the package index's own.
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
    jax: str = "jax"
    headers: tuple[str, ...] = ()
    driver_packages: tuple[str, ...] = ()
    cuda_packages: tuple[str, ...] = ()
    module: str = NONE
    built_from: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> tuple[str, ...]:
        return (*self.headers, *self.driver_packages, *self.cuda_packages)

    def because(self, reasons: dict[str, str], **choices: Any) -> "Plan":
        """The plan with these choices too."""
        return replace(self, reasons={**self.reasons, **reasons}, **choices)

    def to_json(self) -> dict[str, Any]:
        parts = ("headers", "driver_packages", "cuda_packages", "module", "built_from")
        flat = {key: value for key, value in asdict(self).items() if key not in parts}
        return {**flat, "packages": list(self.packages)}


@dataclass(frozen=True, kw_only=True)
class Question:
    """`system` is such as debian-12; `cards` are those in the box and those to prepare for."""

    system: str
    cards: tuple[Gpu, ...]
    graphics: Graphics
    driver: Driver | None
    cuda: Cuda | None


def decide(survey: Survey, rig: Rig) -> Plan | Refusal:
    """The plan for a surveyed box."""
    system = f"{survey.system}-{survey.version}"
    return resolve(system, survey.graphics, driver=rig.driver, cuda=rig.cuda)


def resolve(
    system: str, graphics: Graphics, *, driver: Driver | None, cuda: Cuda | None
) -> Plan | Refusal:
    """What goes on a box of this system with these cards, or why nothing does."""
    expected = [identify(pci_id) for pci_id in driver.gpus] if driver else []
    cards = (*graphics.gpus, *expected)
    question = Question(system=system, cards=cards, graphics=graphics, driver=driver, cuda=cuda)
    plan: Plan | Refusal = Plan()
    for step in (_driver, _toolkit, _frameworks):
        if isinstance(plan, Plan):
            plan = step(plan, question)
    return plan


def _driver(plan: Plan, question: Question) -> Plan | Refusal:
    settings, cards = question.driver, question.cards
    if settings is None:
        return plan.because({"driver_branch": "Rig.driver is None: what is there is left alone"})
    if not cards:
        why = "there is no NVIDIA card in the box; Driver(gpus=...) prepares for one"
        return plan.because({"driver_branch": why})
    row = _row("driver", question.system, settings.source)
    if row is None:
        return Refusal(
            refusal=f"deeprig installs no driver on {driver_choice.called(question.system)} yet.",
            instead="Rig(driver=None) and the distribution's own way, such as `ubuntu-drivers "
            "install --gpgpu`.",
        )
    flavour = driver_choice.flavour(row, cards, question.graphics, settings.flavour)
    if isinstance(flavour, Refusal):
        return flavour
    modules = row["flavours"][flavour.name]
    return plan.because(
        {
            "driver_branch": f"{row['branch']} is what the archive has, and it drives "
            f"{driver_choice.named(cards)}",
            "module_flavour": flavour.why,
            "driver_source": "the distribution's archive, by Driver.source",
        },
        driver_branch=row["branch"],
        module_flavour=flavour.name,
        driver_source=settings.source,
        headers=driver_choice.headers(question.graphics.kernels or ()),
        driver_packages=(modules["package"], *row["packages"]),
        module=modules["module"],
        built_from=tuple(row["built_from"]),
    )


def _toolkit(plan: Plan, question: Question) -> Plan | Refusal:
    settings, cards = question.cuda, question.cards
    if settings is None:
        return plan.because({"cuda": "Rig.cuda is None: no toolkit"})
    row = _row("cuda", question.system, settings.source)
    if row is None:
        return Refusal(
            refusal=f"deeprig installs no CUDA on {driver_choice.called(question.system)} yet.",
            instead="Rig(cuda=None); frameworks such as torch bring their own CUDA.",
        )
    driver = _row("driver", question.system, plan.driver_source) or {}
    refusal = toolkit_choice.refusal(row, cards, driver)
    if refusal:
        return refusal
    return plan.because(
        {
            "cuda": toolkit_choice.reason(row, cards, driver),
            "cuda_source": "the distribution's archive, by Cuda.source",
            "nccl": f"the archive has {'none' if row['nccl'] == NONE else 'it'}",
            "cudnn": "the archive has none for this CUDA; frameworks bring their own",
        },
        cuda=row["cuda"],
        cuda_source=settings.source,
        nccl=row["nccl"],
        cuda_packages=tuple(row["packages"]),
    )


def _frameworks(plan: Plan, question: Question) -> Plan | Refusal:
    if not question.cards:
        return plan.because({"torch": "there is no card: the newest one, on the CPU"})
    running = plan.driver_branch if plan.driver_packages else question.graphics.loaded_driver
    major = running.partition(".")[0]
    driver = int(major) if major.isdigit() else None
    for row in data.load("stack")["framework"]:
        cards = [c for c in question.cards if c.architecture in row["architectures"]]
        below = row["below_driver"]
        if cards and (not below or (driver is not None and driver < below)):
            why = row["why"].format(cards=driver_choice.named(cards), driver=f"driver {driver}")
            return plan.because(
                {"torch": why},
                torch=row["torch"],
                torch_backend=row["torch_backend"],
                jax=row["jax"],
            )
    why = f"no torch has kernels for {driver_choice.named(question.cards)}: it runs on the CPU"
    return plan.because({"torch": why})


def _row(table: str, system: str, source: str) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = data.load("stack")[table]
    return next((r for r in rows if (r["system"], r["source"]) == (system, source)), None)
