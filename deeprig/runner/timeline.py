"""Where the time of a run went: `pyinfra inventory.py deploy.py --data timeline=yes`."""

import time
from dataclasses import dataclass, field

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

WIDTH = 40  # of the bars
LEAST = 0.01  # of the whole; shorter steps are told in one line


@dataclass
class Step:
    """An operation on one host; seconds since the run began to ask it."""

    name: str
    start: float
    end: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass
class Timeline(BaseStateCallback):
    """Notes when each operation began and ended; prints it when the host is left."""

    began: float = field(default_factory=time.monotonic)
    steps: dict[str, list[Step]] = field(default_factory=dict)

    # pyinfra declares these static and calls them on the instance.
    def operation_host_start(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str
    ) -> None:
        name = next(iter(state.get_op_meta(op_hash).names))
        self.steps.setdefault(host.name, []).append(Step(name, self._now()))

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self.steps[host.name][-1].end = self._now()

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self.steps[host.name][-1].end = self._now()

    def host_disconnect(  # type: ignore[override]
        self, state: State, host: Host
    ) -> None:
        if not state.is_executing or host.executing_op_hash:  # it reboots, and goes on
            return
        steps = self.steps.pop(host.name, [])
        for line in lines(steps):
            host.log(line, logger.info)

    def _now(self) -> float:
        return time.monotonic() - self.began


def lines(steps: list[Step]) -> list[str]:
    """A line for each step that took its time: when it began, how long it took, a bar."""
    steps = [step for step in steps if step.end]
    if not steps:
        return []
    whole = max(step.end for step in steps)
    long = [step for step in steps if step.seconds >= whole * LEAST]
    others = [step.seconds for step in steps if step not in long]
    if before := steps[0].start:
        long.insert(0, Step("reading what is there", 0.0, before))
    return [
        f"Where {whole:.1f} s went:",
        *(_line(step, whole) for step in long),
        f"{sum(others):7.1f} s in {len(others)} other steps",
    ]


def _line(step: Step, whole: float) -> str:
    at, width = round(WIDTH * step.start / whole), max(1, round(WIDTH * step.seconds / whole))
    bar = (" " * at + "#" * width)[:WIDTH]
    return f"{step.seconds:7.1f} s  {bar:{WIDTH}}  {step.name}"


def watch(state: State) -> None:
    """Have a run tell it, once, however many hosts it has."""
    if not any(isinstance(handler, Timeline) for handler in state.callback_handlers):
        state.add_callback_handler(Timeline())
