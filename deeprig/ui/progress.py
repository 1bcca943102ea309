"""What is being done, for how long so far: one line that is rewritten, or a line each in a log."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deeprig.ui import screen

TICK_SECONDS = 1.0


class Progress:
    """The steps of a long job and the seconds that each of them took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._doing = ""
        self._live = sys.stderr.isatty()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the time of what is done inside; `doing` says what it is at."""
        started = time.monotonic()
        self._doing = ""
        stop = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, started, stop), daemon=True)
        screen.echo(f"==> {name}", err=True)
        if self._live:
            ticker.start()
        try:
            yield
        finally:
            stop.set()
            if self._live:
                ticker.join()
                screen.rewrite()
            self.seconds[name] = time.monotonic() - started
            screen.echo(f"    {name}: {self.seconds[name]:.1f} s", err=True)

    def doing(self, what: str) -> None:
        """Say what the step is at, or what it waits for."""
        if self._live:
            self._doing = what
        elif what != self._doing:
            self._doing = what
            screen.echo(f"    {what}", err=True)

    def _tick(self, name: str, started: float, stop: threading.Event) -> None:
        while not stop.wait(TICK_SECONDS):
            line = f"    {time.monotonic() - started:4.0f} s  {self._doing or name}"
            screen.rewrite(line)
