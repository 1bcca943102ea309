"""The shell of one login: made when it is needed, and made again when it was lost."""

from contextlib import suppress

import paramiko

from fast_ssh import sending, shell
from fast_ssh.cache import Cache
from fast_ssh.commands import Command
from fast_ssh.errors import NoShell, ShellLost
from fast_ssh.frames import ROOT
from fast_ssh.history import History, Question
from fast_ssh.shell import Shell
from fast_ssh.wire import Done, Pending, Watcher, Wire

OPEN_SECONDS = 20


class Kept:
    """Questions and tasks for one host. Raises NoShell where no shell can be kept there."""

    def __init__(self, history: History, cache: Cache) -> None:
        self.history, self.cache = history, cache
        self.transport: paramiko.Transport | None = None
        self.password: str | None = None
        self._shell: Shell | None = None
        self._prefetched = False

    def ask(self, question: Question, *, remember: bool) -> Done:
        """The answer to a command that only reads; a remembered one while that is true."""
        try:
            return self._answer(question, remember=remember)
        except ShellLost:
            self.close()  # a question may be asked twice
            return self._answer(question, remember=remember)

    def prefetch(self) -> None:
        """Ask all that the last run asked, before anybody waits for an answer."""
        # The way back from root's shell would be waited for, so that comes last.
        questions = sorted(self.cache.next(self.history.known()), key=lambda q: q.level == ROOT)
        if not questions or self.history.by_password:
            return
        with suppress(NoShell, ShellLost):  # whoever asks first is told so
            here = self._open()
            self._prefetched = True
            self._send(here, questions)
            here.wire.flush()

    def run(self, command: Command, watch: Watcher | None = None) -> Done:
        """Run what may change anything. Raises TimeoutError or ShellLost."""
        here = self._open()
        try:
            return here.run(
                command.level,
                command.text,
                stdin=command.stdin,
                watch=watch,
                timeout=command.timeout,
            )
        except (TimeoutError, ShellLost):
            self.close()
            raise

    def close(self) -> None:
        """Throw the shell away, and the answers that it still owes."""
        self.cache.drop()
        if self._shell:
            self._shell.close()
        self._shell = None

    def _answer(self, question: Question, *, remember: bool) -> Done:
        if self.password and self._prefetched:
            self.close()  # in that shell sudo was asked without it
        self._prefetched = False
        here = self._open()
        if not remember:
            return here.answer(here.ask(*question))
        pending = self.cache.find(question) or self._ask_with_others(here, question)
        done = here.answer(pending)
        self.history.note(question, by_password=self.password is not None)
        if not pending.complete:  # sudo let nobody in, and that is no answer to a question
            self.cache.drop()
        elif not pending.beside:
            self.history.took(question, pending.seconds)
        return done

    def _ask_with_others(self, here: Shell, question: Question) -> Pending:
        """Ask it, and together with it what was asked after it the last time."""
        return self._send(here, [question, *self.cache.next(self.history.after(question))])[
            question
        ]

    def _send(self, here: Shell, batch: list[Question]) -> dict[Question, Pending]:
        sent = {}
        # Level by level, for each way to root and back is another sudo.
        for level in dict.fromkeys(question.level for question in batch):
            together = [question for question in batch if question.level == level]
            beside = self.history.slowest(together) if len(together) > 1 else []
            jobs = {question: here.begin(*question) for question in beside}
            for question in together:
                job = jobs.get(question)
                sent[question] = here.collect(level, job) if job else here.ask(*question)
                self.cache.keep(question, sent[question])
        return sent

    def _open(self) -> Shell:
        if self._shell and not self._shell.lost:
            self._shell.password = self.password
            return self._shell
        self.close()
        if self.transport is None or not self.transport.is_active():
            raise ShellLost("the connection is gone")
        self._shell = open_shell(self.transport, password=self.password)
        return self._shell


def open_shell(transport: paramiko.Transport, *, password: str | None = None) -> Shell:
    """A shell on a channel of its own. Raises NoShell where there is none to be had."""
    try:
        # Each answer has limits of its own, and there is no end to them.
        channel = sending.unbound(transport.open_session(timeout=OPEN_SECONDS))
        wire = Wire(channel)
        channel.exec_command(shell.command(wire.word))
    except (paramiko.SSHException, EOFError) as error:
        raise NoShell(f"it opens no channel for one: {error}") from None
    wire.listen()
    return Shell(wire, password=password)
