"""One run of deploy.py's order of work through pyinfra's API, which reports also what failed."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click
from pyinfra import logger
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_ops
from pyinfra.api.state import BaseStateCallback, State, StateStage

from deeprig.facts.survey import Survey
from deeprig.runner import link_watch
from deeprig.settings import Rig
from deeprig.ssh import connection

Progress = Callable[[str], None]
UNANSWERED = "could not load fact: "  # pyinfra's words
# What it says of each operation; `tell` has that of those that changed something.
OF_EVERY_ONE = ("Connected", "Success", "No changes", "Skipped", "noop:")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation on one host. `status` is changed, unchanged, failed or waiting (not run)."""

    name: str
    status: str
    would_change: bool
    conditional: bool
    seconds: float
    output: str


@dataclass(kw_only=True)
class Report:
    """What a run did, or would do, on one host; `error` is one sentence where it failed.

    `survey` is what the box was before it; None where it did not come that far. `refusals` are the
    reasons, a sentence each, for which it was left alone, or why a step went no further. What runs
    writes these two: `report_of`.
    """

    host: str
    error: str | None = None
    refusals: list[str] = field(default_factory=list)
    survey: Survey | None = None
    seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)

    @property
    def changes(self) -> list[str]:
        """Names of the operations that changed the host, or in a dry run would."""
        return [
            step.name
            for step in self.steps
            if step.status == "changed"
            or (step.status == "waiting" and step.would_change and not step.conditional)
        ]


class _OfTheRun(BaseStateCallback):
    """A run's own part of pyinfra's state: its report, how long each operation takes, a line for
    whoever watches, and why there is no connection.
    """

    def __init__(self, report: Report, progress: Progress, tell: Progress) -> None:
        self.report = report
        self.started: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.progress = progress
        self.tell = tell
        self._last = ""
        self.unreached = ""

    # pyinfra declares these static and calls them on the instance.
    def host_connect_error(  # type: ignore[override]
        self, state: State, host: Host, error: Exception
    ) -> None:
        self.unreached = str(error)

    def operation_host_start(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str
    ) -> None:
        self.tell_of_the_last(state, host)  # what it did is known only now
        self.started[op_hash] = time.monotonic()
        self._last = op_hash
        self.progress(_name(state, op_hash))

    def tell_of_the_last(self, state: State, host: Host) -> None:
        """A line for the operation that has ended, where it changed something or failed."""
        step = _step(state, host, self._last, self.seconds) if self._last else None
        self._last = ""
        if step and step.status in ("changed", "failed"):
            self.tell(f"{step.name}: {step.status}")

    def _stop(self, op_hash: str) -> None:
        self.seconds[op_hash] = time.monotonic() - self.started[op_hash]

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self._stop(op_hash)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._stop(op_hash)


class _Complaints(logging.Handler):
    """What pyinfra writes of a host that it gives up, and keeps to itself where it is not a CLI."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = click.unstyle(record.getMessage()).strip()
        self.lines = [*self.lines[-1:], message.partition("] ")[2] or message]

    @property
    def unanswered(self) -> str:
        """Which question failed, and what was said there last; empty where none did."""
        before, last = ["", "", *self.lines][-2:]
        fact = last.partition(UNANSWERED)[2].split(" ")[0].rpartition(".")[2]
        if not fact:
            return ""
        return f"a question could not be answered there ({fact}: {before or 'no word of why'})."


class _Words(logging.Handler):
    """What the operations say, and pyinfra of what fails, as lines for whoever watches."""

    def __init__(self, report: Report, tell: Progress) -> None:
        super().__init__(logging.INFO)
        self.report, self.tell = report, tell

    def emit(self, record: logging.LogRecord) -> None:
        line = click.unstyle(record.getMessage()).strip()
        if line.startswith("["):
            line = line.partition("] ")[2].strip()
            known = line in self.report.refusals  # whoever runs it says them at the end
            if line and not known and not line.startswith(OF_EVERY_ONE):
                self.tell(line)


def _log_out(state: State) -> None:
    """pyinfra leaves that to the end of its process, and this one may go on; until then a box
    takes the deploy for one that is still at work.
    """
    for host in state.inventory:
        if client := getattr(host.connector, "client", None):
            client.close()


def run(
    name: str,
    data: dict[str, Any],
    build: Callable[[Rig], None],
    *,
    dry: bool = False,
    progress: Progress = lambda line: None,
    tell: Progress | None = None,
    agree: Callable[[Report], bool] | None = None,
    look_ahead: bool = True,
) -> Report:
    """Run `build` for one host of an inventory; dry reads only and reports what would change.

    A host each, so that one that fails stops no other. Never raises for what the host does.
    `progress` is given what is done at the moment, `tell` a line for what was changed or said.
    `agree` is shown what a dry run would report, and says whether to go on. Without `look_ahead`
    nothing is asked twice, and no change is known before it is made: pyinfra's own -y.
    """
    started = time.monotonic()
    link_watch.print_no_traceback(of=KeyboardInterrupt)
    report = Report(host=name)
    target = connection.target(name, data["rig"].connection)
    state = State(
        Inventory(([(target, data)], {})), Config(SUDO=True), check_for_changes=look_ahead
    )
    own, complaints = _OfTheRun(report, progress, tell or (lambda line: None)), _Complaints()
    state.add_callback_handler(own)
    handlers = [complaints, *([_Words(report, tell)] if tell else [])]
    for handler in handlers:
        logger.addHandler(handler)
    level = logger.level
    if tell:
        logger.setLevel(logging.INFO)
    try:
        progress("connecting")
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        progress("reading what is there")
        add_deploy(state, build, rig=data["rig"])
        if agree and not dry:
            report.steps = _steps(state, name, own)
            dry = not agree(report)
        if not dry:
            state.set_stage(StateStage.Execute)
            run_ops(state)
    except PyinfraError as error:
        report.error = _why(state, report, own.unreached or complaints.unanswered or str(error))
    finally:
        own.tell_of_the_last(state, state.inventory.get_host(name))
        for handler in handlers:
            logger.removeHandler(handler)
        logger.setLevel(level)
        report.steps = _steps(state, name, own)
        disconnect_all(state)
        _log_out(state)
    report.seconds = time.monotonic() - started
    return report


def report_of(host: Host) -> Report:
    """The report of the run that this host is in: `run` has it with its state.

    In a run of pyinfra's own CLI nobody reads one, so there it is a new one each time.
    """
    own = (each.report for each in host.state.callback_handlers if isinstance(each, _OfTheRun))
    return next(own, None) or Report(host=host.name)


def _name(state: State, op_hash: str) -> str:
    return next(iter(state.get_op_meta(op_hash).names))


def _why(state: State, report: Report, reason: str) -> str:
    name = report.host
    host = state.inventory.get_host(name)
    if link := connection.dead_link(getattr(host.connector, "client", None)):
        return link_watch.sentence(name, link)
    if report.refusals:
        return f"{name}: {' '.join(report.refusals)}"
    failed = [
        _name(state, op_hash)
        for op_hash in host.op_hash_order
        if op_hash in state.ops[host]
        and state.ops[host][op_hash].operation_meta.is_complete()
        and state.ops[host][op_hash].operation_meta.did_error()
    ]
    return f"{name} failed at: {failed[-1]}" if failed else f"{name}: {reason}"


def _steps(state: State, name: str, own: _OfTheRun) -> list[Step]:
    host = state.inventory.get_host(name)
    steps = (_step(state, host, op_hash, own.seconds) for op_hash in host.op_hash_order)
    return [step for step in steps if step]


def _step(state: State, host: Host, op_hash: str, seconds: dict[str, float]) -> Step | None:
    """None for one that asked a question, and the answer was none."""
    operation = state.ops[host].get(op_hash)
    if operation is None:
        return None
    meta = operation.operation_meta
    if not meta.is_complete():
        status = "waiting"
    elif meta.did_error():
        status = "failed"
    else:
        status = "changed" if meta.did_change() else "unchanged"
    return Step(
        name=_name(state, op_hash),
        status=status,
        would_change=bool(meta._maybe_is_change),
        conditional=bool(operation.global_arguments["_if"]),
        seconds=round(seconds.get(op_hash, 0.0), 2),
        output=f"{meta.stdout}\n{meta.stderr}".strip() if meta.is_complete() else "",
    )
