"""A deploy to several boxes at once, a process each, with one question for all."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from deeprig_cli.deploy import worker
from deeprig_cli.deploy.outcome import Outcome

# Nothing of the current folder's: a `tasks.py` there is somebody's own.
PYTHON = (sys.executable, "-P", "-m", worker.__name__)
Tell = Callable[[str, str], None]  # a box, and a line


class Worker:
    """One box's process, and what it has said so far."""

    def __init__(self, inventory: Path, name: str, tell: Tell, *, yes: bool) -> None:
        self.name, self._tell = name, tell
        self.proposed: Outcome | None = None
        self.ended: Outcome | None = None
        self.waits = Event()  # for leave to begin; or it has ended
        self._process = subprocess.Popen(
            [*PYTHON, str(inventory), name, "yes" if yes else "ask"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        try:
            for line in self._process.stdout:
                self._take(json.loads(line))
        except ValueError:
            pass  # it was killed in the middle of a line
        finally:
            self.waits.set()

    def _take(self, said: dict[str, Any]) -> None:
        match said:
            case {"tell": str(line)}:
                self._tell(self.name, line)
            case {"proposed": dict(found)}:
                self.proposed = Outcome(**found)
                self.waits.set()
            case {"ended": dict(found)}:
                self.ended = Outcome(**found)

    def answer(self, word: str) -> None:
        """To what it proposed; nothing where it has ended meanwhile."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(word)
            self._process.stdin.close()

    def outcome(self) -> Outcome:
        """Once it has ended."""
        self._reader.join()
        code = self._process.wait()
        why = f"{self.name}: its run ended with {code} and no word of how; deploy again."
        return self.ended or Outcome.lost(self.name, why)

    def end(self) -> None:
        """Now, where it has not by itself."""
        self._process.terminate()
        self._process.wait()


def deploy(
    inventory: Path, names: list[str], tell: Tell, agree: Callable[[list[Outcome]], bool] | None
) -> list[Outcome]:
    """Each box's outcome. Without `agree` nobody is asked; its "no" leaves all boxes alone."""
    with ExitStack() as stack:
        workers = []
        for name in names:
            workers.append(Worker(inventory, name, tell, yes=agree is None))
            stack.callback(workers[-1].end)
        if agree:
            for one in workers:
                one.waits.wait()
            waiting = [one for one in workers if one.proposed]
            proposals = [one.proposed for one in workers if one.proposed]
            go = bool(proposals) and agree(proposals)
            for one in waiting:
                one.answer(worker.GO if go else "no\n")
        return [one.outcome() for one in workers]
