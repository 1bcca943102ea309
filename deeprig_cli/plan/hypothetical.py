"""A box that one only thinks of: what would go on it, by the tables alone."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from deeprig import catalog
from deeprig.catalog import gpu_search
from deeprig.catalog.gpus import Gpu, is_one_of
from deeprig.errors import DeeprigError
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import join_cards, system_title
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Cuda, Driver
from deeprig.settings.types import Branch, CudaVersion, TorchVersion


@dataclass(frozen=True, kw_only=True)
class ImaginedBox:
    """The options of `deeprig plan` that describe it; all but `gpus` and `system` may be None."""

    gpus: tuple[str, ...]
    system: str | None
    driver_source: Literal["distro", "nvidia"] | None
    cuda_source: Literal["distro", "nvidia"] | None
    branch: str | None
    flavour: Literal["open", "proprietary"] | None
    cuda: str | None
    torch: str | None
    secure_boot: bool
    architecture: Literal["amd64", "arm64"] | None = None

    @property
    def said(self) -> str:
        """The box in words."""
        cards = self._cards()
        counts = {str(card): sum(str(other) == str(card) for other in cards) for card in cards}
        each = [f"{count} x {card}" if count > 1 else card for card, count in counts.items()]
        on = " on arm64" if self._architecture() == "arm64" else ""
        return f"{system_title(self.system or '')}{on} with {' and '.join(each)}"

    @property
    def is_meant(self) -> bool:
        """Whether any option describes it."""
        return any(vars(self).values())

    def decide(self) -> StackPlan | Refusal:
        """What would go on it. Raises DeeprigError for a card or version that cannot be."""
        if not self.gpus:
            raise DeeprigError(
                'A box that you only think of needs its card too, such as --gpu "RTX 3090".'
            )
        if self.system is None:
            raise DeeprigError("--gpu needs the system too, such as --os ubuntu-24.04.")
        driver = Driver(
            source=self.driver_source,
            branch=_checked("--branch", Branch, self.branch),
            flavour=self.flavour,
        )
        cuda = Cuda(
            source=self.cuda_source or "nvidia",
            version=_checked("--cuda", CudaVersion, self.cuda),
        )
        return resolve.resolve(
            self.system,
            GpuFacts(gpus=self._cards(), secure_boot=self.secure_boot),
            driver=driver,
            cuda=cuda,
            torch=_checked("--torch", TorchVersion, self.torch),
            architecture=self._architecture(),
        )

    def _cards(self) -> tuple[Gpu, ...]:
        try:
            return tuple(card for name in self.gpus for card in gpu_search.find_all(name))
        except DeeprigError as error:
            raise DeeprigError(f"--gpu {error}") from None

    def _architecture(self) -> str:
        """That of the option, or else the one that its cards exist with."""
        bound = [card for card in self._cards() if is_one_of(card, _arm64_only())]
        if bound and self.architecture == "amd64":
            raise DeeprigError(
                f"--arch is amd64, and {join_cards(bound)} exists with an arm64 processor only; "
                "leave --arch out."
            )
        return self.architecture or ("arm64" if bound else "amd64")


def _arm64_only() -> list[str]:
    ids: list[str] = catalog.load("gpus")["arm64_only"]["ids"]
    return ids


def _checked(option: str, kind: Any, value: str | None) -> str | None:
    """The value as the setting of that name takes it."""
    try:
        taken: str | None = None if value is None else TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        trouble = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DeeprigError(f"{option} is {value!r}; {trouble}.") from None
    return taken
