"""testinfra's view of a box, through the same checked connection as everything else."""

import functools
import math
import re
import secrets
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paramiko
from testinfra.backend.base import CommandResult
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from deeprig.errors import DeeprigError
from deeprig.ssh import as_user, connection
from deeprig.ssh.root_shell import ENGLISH
from deeprig.ui import screen
from deeprig.ui.visible import visible
from fast_ssh import login_shell, sending
from fast_ssh.cache import Cache
from fast_ssh.commands import Command
from fast_ssh.errors import NoShell, ShellLost, TooMuch
from fast_ssh.frames import ROOT, USER
from fast_ssh.history import History, Question
from fast_ssh.kept import Kept
from fast_ssh.wire import QUESTION_SECONDS, Done

# An answer is of this run, however slow the box is: who asks one by one has no newer one either.
WHOLE_RUN = math.inf
# A box that has just started is asked one by one, at each check: its services come up meanwhile.
SECONDS_TO_START = 180
# How testinfra runs a command as root, and as somebody else.
SUDO = "sudo /bin/sh -c "
AS_ROOT = "sudo sh -c "
SUDO_AS = re.compile(r"sudo -u ([a-z_][a-z0-9_-]*) /bin/sh -c ")
# A check of the work user's may wait for a notebook's kernel on a slow box.
USER_SECONDS = 330
# What a check only asks, and what one may take that does something: compile, train, wait for apt.
ASK_SECONDS, DO_SECONDS = int(QUESTION_SECONDS), 1800


class Answer(CommandResult):  # type: ignore[misc]  # testinfra carries no types
    """What a command came to; where it stands in a failed check, one readable line."""

    def __repr__(self) -> str:
        lines = (self.stderr or self.stdout).strip().splitlines()
        return f"`{self.command.decode(errors='replace')}`: {lines[-1] if lines else 'no output'}"


class Backend(ParamikoBackend):  # type: ignore[misc]
    """paramiko, but with pinned host keys, packets sent at once, and one connection.

    Where the box is reached by `connection="fast"`, its commands run in two shells that are kept,
    the login's and root's, and what checks only read is asked all at once, as the last time:
    `record` is the folder that says what that was.
    """

    def __init__(self, name: str, data: dict[str, Any], record: Path) -> None:
        super().__init__(name)
        self.data = data
        levels = (USER, ROOT) if data["rig"].connection == "fast" else ()
        files = {level: record / f"{quote(name, safe='')}.{level}.json" for level in levels}
        self._kept = {
            level: Kept(History(file, data.get("fast_asker", "")), Cache(WHOLE_RUN))
            for level, file in files.items()
        }
        self._changes = False
        self._ahead = False
        self._asked: set[Question] = set()

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        client = connection.connect(self.data)
        for kept in self._kept.values():
            kept.close()
            kept.transport = client.get_transport()
        return client

    def log_in(self) -> None:
        """Now, so that a box that is off is no failed check; and ask what the last run asked."""
        self.client  # noqa: B018
        self._ahead = bool(self._kept) and self._seconds_up() >= SECONDS_TO_START
        for kept in self._kept.values() if self._ahead else ():
            kept.prefetch()

    def _seconds_up(self) -> int:
        """Since its first process began, which a container has too; 0 where nobody can say."""
        seconds = self._exec_command(b"ps -o etimes= -p 1")[1].strip()
        return int(seconds) if seconds.isdigit() else 0

    def begin(self, *, changes: bool) -> None:
        """The next check begins. Of one that `changes` something nothing is asked ahead."""
        self._changes = changes
        self._asked.clear()

    def close(self) -> None:
        for kept in self._kept.values():
            kept.close()
            kept.history.keep()
        complaints = [kept.history.complaint for kept in self._kept.values()]
        if complaint := next(filter(None, complaints), ""):
            screen.echo(f"{complaint}.", err=True)
        self.client.close()

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        question = _question(command.decode())
        while self._kept:
            try:
                return self._in_shell(question)
            except NoShell:
                self._with_one_shell_less(question.level)
            except (ShellLost, TooMuch) as lost:
                raise paramiko.SSHException(str(lost)) from None
            except TimeoutError:
                raise paramiko.SSHException(f"it has not ended within {DO_SECONDS} s") from None
        return self._plainly(_apart(command.decode()))

    def _with_one_shell_less(self, level: str) -> None:
        """The box may allow one channel at a time (MaxSessions): that one has both shells then."""
        here = self._kept[level]
        here.close()
        others = [kept for kept in self._kept.values() if kept is not here]
        self._kept = dict.fromkeys(self._kept, others[0]) if others else {}

    def _plainly(self, command: str) -> Done:
        """A channel for each command, as `ssh` does it. Raises DeeprigError where none begins."""
        mark = secrets.token_hex(8)
        try:
            code, out, err = self._in_channel(login_shell.behind(mark, f"{ENGLISH}{command}"))
        except paramiko.ChannelException as refused:
            raise DeeprigError(
                f"{self.hostname} opens no channel for a command ({refused}); see MaxSessions in "
                "`sudo sshd -T` there."
            ) from None
        if not login_shell.began(mark, out):
            lines = (out + err).decode(errors="replace").strip().splitlines() or ["nothing"]
            raise DeeprigError(
                f"no command begins on {self.hostname}: what its login's shell reads when it "
                f"starts ends it, and says {visible(lines[-1])!r}."
            )
        return Done(code, login_shell.own(mark, out), login_shell.own(mark, err))

    def _in_channel(self, command: str) -> Done:
        """In a channel of its own, which is left where nothing comes of it in time."""
        transport = self.client.get_transport()
        assert transport is not None
        seconds = DO_SECONDS if self._changes else ASK_SECONDS
        with sending.bound(transport.open_session(), seconds=seconds) as channel:
            channel.settimeout(seconds)
            try:
                channel.exec_command(command)
                out = b"".join(channel.makefile("rb"))
                err = b"".join(channel.makefile_stderr("rb"))
                code = channel.recv_exit_status()
            except TimeoutError:
                raise paramiko.SSHException(f"it has not answered for {seconds} s") from None
            if channel.refused:
                raise paramiko.SSHException(f"{channel.refused} (it has {seconds} s)")
            return Done(code, out, err)

    def decode(self, data: bytes) -> str:
        """A box may say what is no UTF-8; a check that compares it fails by itself."""
        return data.decode(errors="replace")

    def _in_shell(self, question: Question) -> Done:
        kept = self._kept[question.level]
        if self._changes:
            for either in self._kept.values():
                either.cache.forget()
            return kept.run(Command(*question, question.command, None, DO_SECONDS))
        # A check that asks the same twice wants to know whether it is so still.
        again = question in self._asked
        self._asked.add(question)
        return kept.ask(question, remember=self._ahead and not again)

    def result(self, rc: int, cmd: bytes, stdout: str | bytes, stderr: str | bytes) -> Answer:
        return Answer(backend=self, exit_status=rc, command=cmd, _stdout=stdout, _stderr=stderr)


def connect(name: str, data: dict[str, Any], record: Path) -> Host:
    """The box of an inventory, logged in to. Raises DeeprigError where there is no login."""
    backend = Backend(name, data, record)
    backend.log_in()
    host = Host(backend)
    backend.set_host(host)
    return host


def _apart(command: str) -> str:
    """A command of somebody else's, apart from the login that asks, as root has it run."""
    match = SUDO_AS.match(command)
    if not match:
        return command
    [script] = shlex.split(command[match.end() :])
    return f"sudo {as_user.script(match[1], script, seconds=USER_SECONDS)}"


def _question(command: str) -> Question:
    """Root's shell runs it itself; what is the login's, that of the login."""
    command = _apart(command)
    if command.startswith(AS_ROOT):
        return Question(ROOT, command.removeprefix("sudo "))
    by_sudo = command.removeprefix(SUDO)
    if by_sudo != command:
        return Question(ROOT, f"sh -c {by_sudo}")
    # Not by the login's own shell: what that prints when it starts would be in the answer.
    return Question(USER, f"sh -c {shlex.quote(command)}")
