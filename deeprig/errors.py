"""The one error users meet: what is so; what to do."""

from pyinfra.api.exceptions import PyinfraError

from deeprig.ui import visible


class DeeprigError(PyinfraError):
    """Something that cannot go on. pyinfra and our verbs print it as one line, no traceback."""

    def __str__(self) -> str:
        return visible.lines(super().__str__())
