"""How a kept shell can fail; a caller of pyinfra's connectors expects OSError."""


class ShellLost(OSError):
    """The shell ended before it had answered: whether the command ran is not known."""


class NoShell(OSError):
    """There is no shell to be kept on this host; the message says why."""


class TooMuch(OSError):
    """A host answered with more than anybody asked for, or for longer; it is not asked again."""
