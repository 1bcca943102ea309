"""Operations and facts that pyinfra lacks."""

from deeprig.operations.core import Step, converge, enable, read_units, reboot, say, shell

__all__ = ["Step", "converge", "enable", "read_units", "reboot", "say", "shell"]
