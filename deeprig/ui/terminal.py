"""Whether pyinfra's own questions can be answered; without that it ends in a traceback."""

import sys
from collections.abc import Callable
from typing import Any

from deeprig.errors import DeeprigError


def guard() -> None:
    """Have pyinfra's command line say so; as often as one likes."""
    cli: Any = sys.modules.get("pyinfra_cli.cli")
    ask: Callable[[str], bool] | None = getattr(cli, "_do_confirm", None)
    if ask is not None and not isinstance(ask, _Asking):
        cli._do_confirm = _Asking(ask)


class _Asking:
    def __init__(self, ask: Callable[[str], bool]) -> None:
        self._ask = ask

    def __call__(self, question: str) -> bool:
        try:
            return self._ask(question)
        except EOFError:
            raise DeeprigError(
                "pyinfra asks whether to go on, and there is no terminal to answer on; add -y, and "
                "it does not ask."
            ) from None
