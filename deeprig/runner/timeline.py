"""Where the time of a run went: `pyinfra inventory.py deploy.py --data timeline=yes`.

`--data timeline=run.svg` draws it too, one box below the other.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

WIDTH = 40  # of the bars
LEAST = 0.01  # of the whole; shorter steps are told in one line
PIXELS, ROW = 420, 20  # of the picture's longest bar, and from one to the next


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
    """Notes when each operation began and ended; prints it, and draws it, when the host is left."""

    picture: Path | None = None
    began: float = field(default_factory=time.monotonic)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    left: dict[str, list[Step]] = field(default_factory=dict)

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
        if self.picture:
            self.left[host.name] = steps
            try:
                self.picture.write_text(drawn(self.left))
            except OSError as error:
                host.log(f"{self.picture} cannot be written ({error.strerror}).", logger.warning)

    def _now(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True)
class Bars:
    """What is shown of a run: the steps that took their time, and the others' number and sum."""

    whole: float
    long: list[Step]
    others: list[float]


def bars(steps: list[Step]) -> Bars | None:
    """None where nothing was done."""
    steps = [step for step in steps if step.end]
    if not steps:
        return None
    whole = max(step.end for step in steps)
    long = [step for step in steps if step.seconds >= whole * LEAST]
    others = [step.seconds for step in steps if step not in long]
    if before := steps[0].start:
        long.insert(0, Step("reading what is there", 0.0, before))
    return Bars(whole, long, others)


def lines(steps: list[Step]) -> list[str]:
    """A line for each step that took its time: when it began, how long it took, a bar."""
    found = bars(steps)
    if found is None:
        return []
    return [
        f"Where {found.whole:.1f} s went:",
        *(_line(step, found.whole) for step in found.long),
        f"{sum(found.others):7.1f} s in {len(found.others)} other steps",
    ]


def _line(step: Step, whole: float) -> str:
    at, width = round(WIDTH * step.start / whole), max(1, round(WIDTH * step.seconds / whole))
    bar = (" " * at + "#" * width)[:WIDTH]
    return f"{step.seconds:7.1f} s  {bar:{WIDTH}}  {step.name}"


def drawn(boxes: dict[str, list[Step]]) -> str:
    """An SVG: the same bars, all boxes on one scale."""
    shown = {name: found for name, steps in boxes.items() if (found := bars(steps))}
    longest = max((found.whole for found in shown.values()), default=1.0)
    parts, y = [], ROW
    for name, found in shown.items():
        head = f"{name}: {found.whole:.1f} s, {sum(found.others):.1f} of them in short steps"
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{escape(head)}</text>')
        for step in found.long:
            y += ROW
            at, width = (round(PIXELS * part / longest) for part in (step.start, step.seconds))
            parts += [
                f'<rect x="{10 + at}" y="{y - 12}" width="{max(1, width)}" height="14" '
                'fill="#0b7a75"/>',
                f'<text x="{PIXELS + 30}" y="{y}">{step.seconds:.1f} s {escape(step.name)}</text>',
            ]
        y += 2 * ROW
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * PIXELS}" height="{y}"'
    return "\n".join([f'{start} font-family="sans-serif" font-size="12">', *parts, "</svg>", ""])


def watch(state: State, asked: str) -> None:
    """Have a run tell it, once, however many hosts it has; `asked` may be a picture's name."""
    if not any(isinstance(handler, Timeline) for handler in state.callback_handlers):
        state.add_callback_handler(Timeline(Path(asked) if asked.endswith(".svg") else None))
