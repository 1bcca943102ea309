"""A box that one only thinks of: what would go on it, by the tables alone."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from deeprig import gpu_names, stack
from deeprig.errors import DeeprigError
from deeprig.gpus import Graphics
from deeprig.question import called, named
from deeprig.refusal import Refusal
from deeprig.setting_types import Branch, CudaVersion
from deeprig.settings import Cuda, Driver
from deeprig.stack import Plan


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

    @property
    def said(self) -> str:
        """The box in words."""
        return f"{called(self.system or '')} with {named(self._graphics().gpus)}"

    @property
    def is_meant(self) -> bool:
        """Whether any option describes it."""
        return any(vars(self).values())

    def decide(self) -> Plan | Refusal:
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
        return stack.resolve(
            self.system, self._graphics(), driver=driver, cuda=cuda, torch=self.torch
        )

    def _graphics(self) -> Graphics:
        return Graphics(
            gpus=tuple(gpu_names.find(name) for name in self.gpus), secure_boot=self.secure_boot
        )


def _checked(option: str, kind: Any, value: str | None) -> str | None:
    """The value as the setting of that name takes it."""
    try:
        found: str | None = None if value is None else TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DeeprigError(f"{option} is {value!r}; {said}.") from None
    return found
