"""What pyinfra has no operation for, or none that is safe enough on a box without a screen."""

import json
import shlex
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import FunctionCommand, PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import host

from deeprig.operations.box_fact import BoxFact
from deeprig.operations.facts import BootId, Shell
from deeprig.parsers import untrusted
from deeprig.runner import runs
from deeprig.ui.visible import visible

Commands = Generator[PyinfraCommand, None, None]
STDERR_FILE = "/run/deeprig-stderr"


def say(who: Host, message: str, *, wrong: bool = False) -> None:
    """One line for the person who watches, under the host's name."""
    who.log_styled(
        visible(message),
        fg="red" if wrong else "yellow",
        log_func=logger.error if wrong else logger.info,
    )


class Step(FunctionCommand):
    """A step in Python, which gets `state` and `host` before its own arguments; False fails it.

    Where the link goes while it talks with the box, that is a line: pyinfra prints a traceback.
    """

    def __init__(self, function: Callable[..., bool], *arguments: object) -> None:
        super().__init__(function, arguments, {})

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        try:
            return bool(self.function(state, host, *self.args))
        except PyinfraError:  # a question that failed, and was said by pyinfra
            return False
        except (OSError, EOFError, SSHException) as error:
            say(host, f"{error or 'no answer'}.", wrong=True)
            return False


class StreamedCommand(StringCommand):
    """A command whose stdout is shown while it runs; what it says on stderr is why it failed."""

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        connector_arguments.update(self.connector_arguments)
        closed = f"install -m 600 /dev/null {STDERR_FILE};"  # an index's address may stand in it
        watched = StringCommand(closed, "{", self, f"; }} 2>{STDERR_FILE}")
        done, output = host.run_shell_command(watched, print_output=True, **connector_arguments)
        if done:
            return done, output
        # Apart, for pyinfra prints what a failed command said, and reports keep it.
        told, why = host.run_shell_command(
            StringCommand(f"cat {STDERR_FILE} >&2"), **connector_arguments
        )
        return False, why if told else output


@operation()
def shell(
    commands: list[str], unless: str, stdin: str | None = None, streamed: bool = False
) -> Commands:
    """Run commands unless the read-only script `unless` already prints a line.

    For what is owed by the state of the host (a unit started before its configuration, a boot
    menu older than its settings), so that a run that was cut off leaves nothing behind for ever.
    What is `streamed` is shown while it runs, and gets no stdin.
    """
    if host.get_fact(Shell, script=unless):
        host.noop("nothing to do")
        return
    for command in commands:
        if streamed:
            yield StreamedCommand(command)
        else:
            yield StringCommand(command, _stdin=stdin) if stdin else StringCommand(command)


class Standing(NamedTuple):
    """How a command of the box's program says that it stands; nothing where it is not there yet."""

    state: str = ""
    say: str = ""


class Stands(BoxFact[Standing]):
    """What `check` of a command says, a line of JSON."""

    default = Standing

    def command(self, check: str) -> StringCommand:
        return StringCommand(f"(\n{check}\n) 2>/dev/null || true")

    def process(self, output: list[str]) -> Standing:
        answer = untrusted.shaped(json.loads(output[-1]), {"state": str, "say": str})
        return Standing(answer["state"], answer["say"])


@operation()
def converge(command: str, arguments: str = "", shown: bool = False) -> Commands:
    """Have a command of the box's program bring about what it looks after, if that is owed.

    What it says is told, whatever comes of it; what is refused fails the box. `shown` is for what a
    plan names as owed, though a run may leave it for later.
    """
    standing: Standing = host.get_fact(Stands, check=f"{command} check {arguments}")
    if standing.state == "refused":
        yield Step(_refuse, standing.say)
        return
    planned = shown and standing.state == "later" and not host.state.is_executing
    if standing.state in ("ok", "later") and not planned:
        if standing.say and host.state.is_executing:
            say(host, standing.say)
        host.noop(standing.say or "it is as it should be")
        return
    yield StreamedCommand(f"{command} apply {arguments}")


def _refuse(state: State, host: Host, sentence: str) -> bool:
    say(host, sentence, wrong=True)
    runs.report_of(host).refusals.append(visible(sentence))
    return False


@operation()
def read_units(units: list[str]) -> Commands:
    """Have systemd read these units where their files are newer than what it knows of them."""
    if host.get_fact(Shell, script=units_are_read(units)):
        host.noop("it has read them")
        return
    yield StringCommand("systemctl daemon-reload")


def units_are_read(units: list[str]) -> str:
    """Prints a line where it has."""
    named = " ".join(map(shlex.quote, units))
    return f"systemctl show -P NeedDaemonReload {named} | grep -qx yes || echo read"


@operation()
def enable(unit: str, start: bool = True) -> Commands:
    """Have a system unit run at boot, and now where `start` says so."""
    named = shlex.quote(unit)
    active = f"&& systemctl is-active -q {named} " if start else ""
    if host.get_fact(Shell, script=f"systemctl is-enabled -q {named} {active}&& echo yes"):
        host.noop(f"{unit} is on")
        return
    yield StringCommand("systemctl enable", "--now" if start else "", QuoteString(unit))


@operation(is_idempotent=False, idempotent_notice="It always reboots.")
def reboot(timeout: int = 600, interval: float = 2.0) -> Commands:
    """Reboot, and go on when SSH answers under another boot_id. `timeout` is in seconds."""
    before = host.get_fact(BootId)
    yield StringCommand("( sleep 1; systemctl reboot ) </dev/null >/dev/null 2>&1 &")

    def wait(state: State, host: Host) -> bool:
        started = time.monotonic()
        while time.monotonic() - started < timeout:
            time.sleep(interval)
            if _boot_id_by_new_login(host) not in ("", before):
                return True
        say(host, f"No login within {timeout} s of the reboot; look at the box.", wrong=True)
        return False

    yield Step(wait)


def _boot_id_by_new_login(host: Host) -> str:
    """The boot_id as a fresh connection sees it; empty while there is none."""
    try:
        host.disconnect()
        host.connect(show_errors=False)
        return str(host.get_fact(BootId, _ignore_errors=True)) if host.connected else ""
    except Exception:  # a box going down fails in every way there is; the caller counts the time
        host.connected = False
        return ""
