"""What pyinfra has no operation for, or none that is safe enough on a box without a screen."""

import hashlib
import shlex
import time
from collections.abc import Generator

from pyinfra import logger
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import FunctionCommand, PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import host

from tasks.facts import (
    AptHolds,
    AptLockHolder,
    BootId,
    BrokenPackages,
    DebconfAnswers,
    FileState,
    InstalledPackages,
    LinkTarget,
    Shell,
)

Commands = Generator[PyinfraCommand, None, None]

# No dialog, and no restart of services that somebody works in, whatever needrestart is told.
APT_GET = "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y"
INDEX_MINUTES = 60
LOCK_SECONDS = 900
LAST_WORDS = "/run/deeprig-last-words"


def say(who: Host, message: str, *, wrong: bool = False) -> None:
    """One line for the person who watches, under the host's name."""
    who.log_styled(
        message, fg="red" if wrong else "yellow", log_func=logger.error if wrong else logger.info
    )


class Watched(StringCommand):
    """A command whose stdout is shown while it runs; what it says on stderr is why it failed."""

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        connector_arguments.update(self.connector_arguments)
        watched = StringCommand("{", self, f"; }} 2>{LAST_WORDS}")
        done, output = host.run_shell_command(watched, print_output=True, **connector_arguments)
        if done:
            return done, output
        # Apart, for pyinfra prints what a failed command said, and reports keep it.
        told, why = host.run_shell_command(
            StringCommand(f"cat {LAST_WORDS} >&2"), **connector_arguments
        )
        return False, why if told else output


@operation()
def put(
    dest: str,
    content: str,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    validate: str | None = None,
) -> Commands:
    """Make a file hold this content, in one step that a power cut cannot halve.

    The content travels on stdin, so it is never in argv or /tmp, and the file is readable by root
    alone until its owner and mode are right. `validate` is a command that gets the new file's path
    as %s; what it refuses does not replace the old file.
    """
    wanted = content if content.endswith("\n") else f"{content}\n"
    now = host.get_fact(FileState, path=dest)
    same_content = now is not None and now.sha256 == hashlib.sha256(wanted.encode()).hexdigest()
    if now and same_content and (now.user, now.group, now.mode) == (user, group, mode):
        host.noop(f"{dest} is as wanted")
        return
    path = shlex.quote(dest)
    check = validate.replace("%s", '"$t"') + " && " if validate else ""
    yield StringCommand(
        f'umask 022; mkdir -p "$(dirname {path})" && umask 077 && t=$(mktemp {path}.XXXXXX) && '
        f'{{ cat > "$t" && {check}chown {user}:{group} "$t" && chmod {mode} "$t" && '
        f'sync -d "$t" && mv -fT "$t" {path}; }} || {{ rc=$?; rm -f "$t"; exit $rc; }}',
        _stdin=wanted,
    )


@operation()
def remove(path: str) -> Commands:
    """Take one file of ours away."""
    if host.get_fact(FileState, path=path) is None and not host.get_fact(LinkTarget, path=path):
        host.noop(f"{path} is not there")
        return
    yield StringCommand("rm -f", QuoteString(path))


@operation()
def install(packages: list[str], recommends: bool = False) -> Commands:
    """Install what is missing of these Debian packages, in one transaction."""
    there = host.get_fact(InstalledPackages, packages=packages)
    missing = [name for name in packages if name not in there]
    if not missing:
        host.noop(f"{len(packages)} packages are installed")
        return
    yield StringCommand(
        "{ test -n \"$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' "
        f'-mmin -{INDEX_MINUTES} -print -quit)" || {APT_GET} update; }}'
    )
    option = "--install-recommends" if recommends else "--no-install-recommends"
    yield StringCommand(APT_GET, "install", option, *(QuoteString(name) for name in missing))


@operation()
def hold(packages: list[str], held: bool = True) -> Commands:
    """Keep these packages at their version, or let them move again."""
    on_hold: list[str] = host.get_fact(AptHolds)
    now = set(on_hold)
    todo = [package for package in packages if (package in now) is not held]
    if not todo:
        host.noop(f"{', '.join(packages)} {'held' if held else 'not held'}")
        return
    yield StringCommand("apt-mark", "hold" if held else "unhold", *(QuoteString(p) for p in todo))


@operation()
def answer(package: str, question: str, kind: str, value: str) -> Commands:
    """Answer an installation question before it is asked (debconf)."""
    if host.get_fact(DebconfAnswers, package=package).get(question) == value:
        host.noop(f"{question} is answered")
        return
    yield StringCommand("debconf-set-selections", _stdin=f"{package} {question} {kind} {value}")


@operation()
def bring_about(holds: str, commands: list[str], stdin: str | None = None) -> Commands:
    """Run commands unless the read-only script `holds` already prints a line.

    For what is owed by the state of the host (a unit started before its configuration, a boot
    menu older than its settings), so that a run that was cut off leaves nothing behind for ever.
    """
    if host.get_fact(Shell, script=holds):
        host.noop("nothing to do")
        return
    for command in commands:
        yield StringCommand(command, _stdin=stdin) if stdin else StringCommand(command)


@operation()
def enable(unit: str, start: bool = True) -> Commands:
    """Have a system unit run at boot, and now where `start` says so."""
    active = f"&& systemctl is-active -q {unit} " if start else ""
    if host.get_fact(Shell, script=f"systemctl is-enabled -q {unit} {active}&& echo yes"):
        host.noop(f"{unit} is on")
        return
    yield StringCommand("systemctl enable", "--now" if start else "", QuoteString(unit))


@operation()
def repair_packages() -> Commands:
    """Finish the configuration of packages that an interrupted dpkg left half done."""
    if not host.get_fact(BrokenPackages):
        host.noop("dpkg has nothing left to do")
        return
    # The first fails where a package waits for one that is not there; apt then brings that one.
    yield StringCommand(
        "env DEBIAN_FRONTEND=noninteractive dpkg --configure -a ||",
        APT_GET,
        '--fix-broken install && dpkg --audit && [ -z "$(dpkg --audit)" ]',
    )


@operation()
def wait_for_apt() -> Commands:
    """Wait until no other program holds apt's locks, saying who it is."""
    if not host.get_fact(AptLockHolder):
        host.noop("apt is free")
        return

    def wait(state: State, host: Host) -> bool:
        started = time.monotonic()
        while holder := host.get_fact(AptLockHolder, _sudo=True):
            waited = time.monotonic() - started
            if waited > LOCK_SECONDS:
                say(host, f"{holder} has held apt for {waited:.0f} s; see to it.", wrong=True)
                return False
            say(host, f"Waiting for {holder}, which holds apt; {waited:.0f} s so far")
            time.sleep(5)
        return True

    yield FunctionCommand(wait, (), {})


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

    yield FunctionCommand(wait, (), {})


def _boot_id_by_new_login(host: Host) -> str:
    """The boot_id as a fresh connection sees it; empty while there is none."""
    try:
        host.disconnect()
        host.connect(show_errors=False)
        return str(host.get_fact(BootId, _ignore_errors=True)) if host.connected else ""
    except Exception:  # a box going down fails in every way there is; the caller counts the time
        host.connected = False
        return ""
