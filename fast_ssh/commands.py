"""How pyinfra's command and its arguments are run in a kept shell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pyinfra.api.command import StringCommand
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.connectors.util import (
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command,
)

from fast_ssh.frames import ROOT, USER
from fast_ssh.wire import ERR, OUT, Done

# What is fed to a command, above which it goes by a channel of its own: the kept shell reads it
# byte by byte.
LONGEST_STDIN = 256 * 1024
NOT_ROOTS_OWN = ("_use_sudo_login", "_preserve_sudo_env", "_su_user", "_doas", "_dzdo")


class Aside(StringCommand):
    """A command that makes no answer of this run's untrue, and that the next run is not to ask."""


class Command(NamedTuple):
    """A command for a shell. `shown` is what a person may read of it."""

    level: str
    text: str
    shown: str
    stdin: bytes | None
    timeout: float | None


def fits(arguments: Mapping[str, Any], password: str | None) -> bool:
    """Whether a kept shell can run it as the plain connector would."""
    if arguments.get("_get_pty") or arguments.get("_su_password"):
        return False
    if arguments.get("_shell_executable", "sh") is None:  # the login's own shell reads it then
        return False
    stdin = arguments.get("_stdin")
    if hasattr(stdin, "read") or len(given(stdin) or b"") > LONGEST_STDIN:
        return False
    # sudo for somebody else would need the password in an argument, as the plain connector has it.
    return not (password and arguments.get("_sudo") and _level(arguments) == USER)


def make(command: StringCommand, arguments: dict[str, Any]) -> Command:
    """The same command as the plain connector's, without sudo where root's own shell runs it."""
    control = extract_control_arguments(arguments)  # type: ignore[arg-type]  # takes them out
    level = _level(arguments)
    if level == ROOT:
        for name in ("_sudo", "_sudo_user", "_sudo_password"):
            arguments.pop(name, None)
    made = make_unix_command(command, **arguments)
    return Command(
        level=level,
        text=made.get_raw_value(),
        shown=str(made),
        stdin=given(control.get("_stdin")),
        timeout=control.get("_timeout") or None,
    )


def given(stdin: Any) -> bytes | None:
    """What a command is fed: each line with its end, as the plain connector does it."""
    if not stdin:
        return None
    lines = list(stdin) if isinstance(stdin, (list, tuple)) else [stdin]
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in lines).encode()


def password_of(arguments: Mapping[str, Any], prompted: object) -> str | None:
    """What sudo is to be told, where it is known already."""
    if not arguments.get("_sudo"):
        return None
    password = arguments.get("_sudo_password") or prompted
    return password.unmask() if isinstance(password, HiddenValue) else password or None  # type: ignore[return-value]


def output(done: Done) -> CommandOutput:
    """An answer as pyinfra takes it. What is no text is shown, not lost: \\xff."""
    return CommandOutput(
        [
            OutputLine(name, as_text(line))
            for name, data in ((OUT, done.stdout), (ERR, done.stderr))
            for line in _lines(data)
        ]
    )


def as_text(line: bytes) -> str:
    return line.decode(errors="backslashreplace")


def _lines(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _level(arguments: Mapping[str, Any]) -> str:
    if not arguments.get("_sudo") or arguments.get("_sudo_user") not in (None, "", "root"):
        return USER
    return USER if any(arguments.get(name) for name in NOT_ROOTS_OWN) else ROOT
