"""Facts of our own: an answer that is none fails that box alone, in one sentence."""

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.context import ctx_host, host

from deeprig.parsers import untrusted
from deeprig.runner import runs

T = TypeVar("T")


class BoxFact(FactBase[T], Generic[T]):
    """A fact whose `process` may take a box's answer apart without asking first what it is."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "process" in cls.__dict__:
            cls.process = _fails_alone(cls.process)  # type: ignore[method-assign]


def _fails_alone(process: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(process)
    def checked(self: Any, output: list[str]) -> T:
        try:
            return process(self, output)
        except untrusted.ODD as error:
            what = type(self).__name__
            reason = f"It gives no answer that could be believed ({what}: {untrusted.why(error)})."
            if ctx_host.isset():
                runs.report_of(host).refusals = [f"{reason} Find out who answers there."]
            raise FactProcessError(reason) from None

    return checked
