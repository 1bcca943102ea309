"""One deploy at a time on a box: each would undo what the other does, and both report success."""

from pathlib import Path

from pyinfra.api.command import QuoteString
from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

import deeprig
from deeprig import operations
from deeprig.operations.core import Commands
from deeprig.operations.facts import Shell
from deeprig.parsers import untrusted
from fast_ssh.commands import Aside

SCRIPT = (Path(deeprig.__file__).parent / "preflight/one_deploy.sh").read_text()
OTHER, TAKE = f"{SCRIPT}other", f"{SCRIPT}take"


def objections() -> list[str]:
    """That another deploy is at work on the box, as a sentence with the way out."""
    return _said(host.get_fact(Shell, script=OTHER))


@deploy("One at a time")
def begin() -> None:
    """Have this deploy be the one that is at work, until its login ends."""
    _begin(name="Have no other deploy at work")


@operation()
def _begin() -> Commands:
    """No change of the box: what says so lies below /run and counts as long as the login."""
    if host.state.is_executing:
        _, output = host.run_shell_command(Aside("sh -c", QuoteString(TAKE)), _sudo=True)
        if why_not := _not_taken(output.stdout.strip(), output.stderr.strip()):
            yield operations.Step(_refuse, why_not)
            return
    host.noop("this one alone")


def _not_taken(answer: str, errors: str) -> list[str]:
    """Why this deploy is not the one that is at work; no answer is no leave to go on."""
    if answer == "taken":
        return []
    last = errors.splitlines()[-1:] or ["no word of why"]
    return _said(answer) or [
        f"It cannot write down that this deploy is at work ({last[0]}); `df -h /run` there says "
        "whether there is room."
    ]


def _refuse(state: State, host: Host, said: list[str]) -> bool:
    for sentence in said:
        operations.say(host, sentence, wrong=True)
    return False


def _said(answer: str) -> list[str]:
    if not answer.strip():
        return []
    pid, _, seconds = answer.strip().partition(" ")
    try:
        minutes = untrusted.number(seconds, 0, 10**9) // 60
        end = f"`sudo kill {untrusted.number(pid, 2, 2**22)}` there ends it now"
    except untrusted.NotSo as error:
        return [f"What it says of another deploy cannot be believed: {error}."]
    return [
        f"Another deploy has been at work on it for {minutes} min, and each would undo what the "
        f"other does; deploy when it has ended, or {end}."
    ]
