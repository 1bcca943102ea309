"""One shell on one channel: commands in, exact answers out, as many on the way as one likes."""

import shlex

from fast_ssh import frames
from fast_ssh.errors import NoShell, ShellLost
from fast_ssh.frames import ROOT, USER, Script
from fast_ssh.wire import TASK_SECONDS, Done, Door, Pending, Watcher, Wire

START_SECONDS = 20
TOOLS = "command -v base64 >/dev/null && command -v gzip >/dev/null"


def command(word: str) -> str:
    """What the channel has to run."""
    return f"exec sh -c {shlex.quote(frames.loop(USER))} sh {shlex.quote(word)}"


class Shell:
    """A shell of the login's and, within it while it is needed, one of root's.

    All is sent without waiting for what was sent before. `password` is what sudo asks for.
    """

    def __init__(self, wire: Wire, *, password: str | None = None) -> None:
        self.wire, self.password = wire, password
        self._door: Door | None = None
        self._left = False
        self._job = 0
        # What must have been answered before this shell is believed.
        self._proofs = [wire.send(USER, self._say(TOOLS))]
        wire.write(b"")  # on a line of its own: packed with others, nobody there could read it
        wire.say(USER, frames.FUNCTIONS)

    @property
    def lost(self) -> bool:
        return self.wire.lost

    def prove(self) -> None:
        """Wait until it is sure that this shell can be kept. Raises NoShell saying why not."""
        while self._proofs:
            self.wire.settle(before=self._proofs[0].number)
            try:
                done = self.wire.wait_for(self._proofs[0], START_SECONDS)
            except TimeoutError:
                raise NoShell(f"it was silent for {START_SECONDS} s") from None
            except ShellLost:
                raise NoShell("it ended at once") from None
            if done.code:
                raise NoShell("base64 or gzip is not there")
            del self._proofs[0]

    def ask(self, level: str, command: str) -> Pending:
        """Send a command that only reads; `answer` waits for it."""
        return self._send(level, lambda number: frames.question(number, command))

    def begin(self, level: str, command: str) -> int:
        """Start a command that only reads, beside those sent after it; `collect` asks for it.

        Nothing that is of another level may be sent in between.
        """
        self._job += 1
        self._go_to(level)
        self.wire.say(level, frames.begin(self._job, command))
        return self._job

    def collect(self, level: str, job: int) -> Pending:
        pending = self._send(level, lambda number: frames.collect(number, job))
        pending.beside = True
        return pending

    def answer(self, pending: Pending) -> Done:
        """Raises ShellLost where it cannot come any more."""
        self.prove()
        return self.wire.wait_for(pending)

    def run(
        self,
        level: str,
        command: str,
        *,
        stdin: bytes | None = None,
        watch: Watcher | None = None,
        timeout: float | None = None,
    ) -> Done:
        """Run a command that may change anything. Afterwards sudo reads its settings anew.

        `watch` gets its output line by line while it runs. Raises TimeoutError: then the shell must
        be closed, for the command still runs in it. Raises ShellLost: then nobody knows how far it
        came.
        """
        self.prove()
        self.wire.settle()
        watched = watch is not None
        sent = self._send(level, lambda n: frames.task(n, command, stdin, watched=watched), watch)
        sent.limit = TASK_SECONDS
        self._leave_root()
        return self.wire.wait_for(sent, timeout)

    def close(self) -> None:
        """Throw it away; what it still runs has nobody to answer to."""
        self.wire.close()

    def _say(self, script: str) -> Script:
        return lambda number: f"{self.wire.marks.function}; {script}; {frames.end(number)}"

    def _send(self, level: str, script: Script, watch: Watcher | None = None) -> Pending:
        self._go_to(level)
        return self.wire.send(level, script, door=self._door, watch=watch)

    def _go_to(self, level: str) -> None:
        if level == USER:
            self._leave_root()
        if self._left:
            self.prove()
        if level == ROOT and (self._door is None or self._door.complete):
            self._enter()

    def _enter(self) -> None:
        script = frames.enter(self.wire.word, by_password=self.password is not None)
        door = self.wire.send(USER, lambda number: f"{script}; {frames.end(number)}", kind=Door)
        assert isinstance(door, Door)
        if self.password is not None:
            self.wire.write(frames.unlock(self.wire.word, self.password))
        door.opened = self.wire.send(ROOT, self._say(frames.FUNCTIONS), door=door)
        self._door = door

    def _leave_root(self) -> None:
        """Back to the login's own shell. A sudo that reads ahead would keep what follows from it:
        the first time, nothing is sent until that shell has answered.
        """
        if self._door is None:
            return
        self._door = None
        self.wire.write(frames.leave(self.wire.word))
        if not self._left:
            self._left = True
            self._proofs.append(self.wire.send(USER, self._say(":")))
