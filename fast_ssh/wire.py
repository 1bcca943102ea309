"""Commands sent down a channel, and their answers taken apart, whoever waits for them."""

import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from fast_ssh import frames
from fast_ssh.errors import ShellLost, TooMuch
from fast_ssh.frames import Answer, Marks, Script, Stream

OUT, ERR = "stdout", "stderr"
CHUNK = 65536
# How long a host may be at one command that nobody set another limit to. A question reads, and the
# slowest of them count files or wait for a server; a task may build kernel modules for hours.
QUESTION_SECONDS, TASK_SECONDS = 300.0, 6 * 3600.0
Watcher = Callable[[str, bytes], None]


class Channel(Protocol):
    """What a shell hangs on: a channel of paramiko's, or in tests the pipes of a process."""

    def sendall(self, s: bytes) -> None: ...
    def recv(self, nbytes: int) -> bytes: ...
    def recv_stderr(self, nbytes: int) -> bytes: ...
    def close(self) -> None: ...


class Done(NamedTuple):
    """What a command came to."""

    code: int
    stdout: bytes
    stderr: bytes


class Pending:
    """A command that was sent. `door` is the root shell that it is in, None in the login's own."""

    def __init__(self, number: int, door: "Door | None", watch: Watcher | None) -> None:
        self.number, self.door, self.watch = number, door, watch
        self.parts: dict[str, Answer] = {}
        self.limit = QUESTION_SECONDS  # from when the host got to it
        self.beside = False  # whether it was begun before the answers that it comes after
        self.sent = time.monotonic()
        self.came = 0.0
        self.seconds = 0.0  # since it was sent, or since the answer before this one came

    @property
    def complete(self) -> bool:
        return len(self.parts) == 2

    def done(self) -> Done:
        return Done(self.parts[OUT].code, self.parts[OUT].data, self.parts[ERR].data)


class Door(Pending):
    """The command that a root shell is. `opened` is its first answer; without it there was none."""

    opened: Pending


class Wire:
    """Both ways of one channel. Two threads read; whoever wants an answer waits for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.word = secrets.token_hex(4)
        self.marks = Marks(secrets.token_hex(16))
        self.lost = False
        self._refused = ""  # why nothing more is taken from this host
        self._changed = threading.Condition()
        self._waiting: dict[int, Pending] = {}
        self._count = 0
        self._answered = 0.0
        self._queue: list[tuple[str, str] | bytes] = []  # (level, script), or bytes as they are

    def listen(self) -> None:
        for name, read in ((OUT, self.channel.recv), (ERR, self.channel.recv_stderr)):
            threading.Thread(target=self._read, args=(name, read), daemon=True).start()

    def send(
        self,
        level: str,
        script: Script,
        *,
        door: Door | None = None,
        watch: Watcher | None = None,
        kind: type[Pending] = Pending,
    ) -> Pending:
        """Have the shell of that level run a script, which gets the number of its answer.

        It goes out together with others, when somebody waits for an answer.
        """
        self._count += 1
        pending = kind(self._count, door, watch)
        with self._changed:
            self._waiting[pending.number] = pending
        self.say(level, script(pending.number))
        return pending

    def say(self, level: str, script: str) -> None:
        """Have it run what nobody waits for."""
        before = self._queue[-1] if self._queue else None
        if isinstance(before, tuple) and before[0] == level:
            self._queue[-1] = (level, f"{before[1]}\n{script}")
        else:
            self._queue.append((level, script))

    def write(self, data: bytes) -> None:
        """Send what no loop runs as it is."""
        self._queue.append(data)

    def flush(self) -> None:
        """Send, in one piece, what has gathered. Raises ShellLost where the channel is gone."""
        queue, self._queue = self._queue, []
        lines = [e if isinstance(e, bytes) else frames.line(self.word, *e) for e in queue]
        try:
            if lines:
                self.channel.sendall(b"".join(lines))
        except (OSError, EOFError) as error:
            self.lost = True
            raise ShellLost(f"the connection to the shell is gone ({error})") from None

    def wait_for(self, pending: Pending, timeout: float | None = None) -> Done:
        """The answer to one command.

        Raises TimeoutError, ShellLost where no answer can come any more, or TooMuch.
        """
        self.flush()
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not pending.complete:
                if pending.door and pending.door.complete:
                    return self._shut_out(pending, pending.door)
                if self.lost:
                    raise self._why_lost()
                now = time.monotonic()
                if end is not None and now >= end:
                    raise TimeoutError
                allowed = max(pending.sent, self._answered) + pending.limit
                if now >= allowed:
                    self._refused = f"it has not answered for {pending.limit:.0f} s"
                    raise self._why_lost()
                self._changed.wait(min(allowed, end or allowed) - now)
        return pending.done()

    def settle(self, before: int | None = None) -> None:
        """Wait for the answers to all that was sent, or to what was sent before one of them."""
        for pending in list(self._waiting.values()):
            if not isinstance(pending, Door) and (before is None or pending.number < before):
                self.wait_for(pending)

    def close(self) -> None:
        self._end()
        self.channel.close()

    def _shut_out(self, pending: Pending, door: Door) -> Done:
        """No root shell answers it: what sudo said, if it was sudo that let nobody in."""
        self._waiting.pop(pending.number, None)
        if door.opened.complete:
            raise ShellLost("root's shell ended before the answer came")
        return door.done()

    def _why_lost(self) -> OSError:
        if self._refused:
            return TooMuch(self._refused)
        return ShellLost("the connection ended before the answer came")

    def _end(self) -> None:
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def _read(self, name: str, read: Callable[[int], bytes]) -> None:
        stream = Stream(self.marks)
        try:
            while chunk := read(CHUNK):
                for answer in stream.feed(chunk):
                    self._complete(name, answer)
                self._show(name, stream)
        except TooMuch as refused:
            self._refused = str(refused)
            self.channel.close()
        except (OSError, EOFError):
            pass  # what is still awaited is told so below
        finally:
            self._end()

    def _complete(self, name: str, answer: Answer) -> None:
        pending = self._waiting.get(answer.number)
        if pending is None or name in pending.parts:
            raise TooMuch("it answered what nobody asked")
        rest = answer.data[answer.shown :]
        if pending.watch and rest:
            for text in rest.removesuffix(b"\n").split(b"\n"):
                pending.watch(name, text)
        with self._changed:
            pending.parts[name] = answer
            if pending.complete:
                pending.came = time.monotonic()
                pending.seconds = pending.came - max(self._answered, pending.sent)
                self._answered = pending.came
                del self._waiting[answer.number]
                self._changed.notify_all()

    def _show(self, name: str, stream: Stream) -> None:
        """What the one who watches gets while the command still runs."""
        watched = next((p for p in list(self._waiting.values()) if p.watch), None)
        if watched and watched.watch:
            for text in stream.lines():
                watched.watch(name, text)
