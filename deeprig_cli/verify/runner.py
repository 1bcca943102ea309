"""The checks of tests/host, run by pytest and collected as values, not as text."""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from _pytest.outcomes import Skipped

from deeprig import tree
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.ssh import connection
from deeprig.ui import screen
from deeprig.ui.visible import visible

CHECKS = tree.ROOT / "tests" / "host"
# From what is written on the box to what wears it out; a tier includes those before it.
TIERS = ["config", "live", "functional", "burn-in"]
BOXES = pytest.StashKey[list[Box]]()  # those that the checks are of, where they are given
# What a check adds to itself: something to look after, to know, and that it saw a pretended card.
WARNING, NOTE, FAKE = "warning", "note", "fake"
NOT_SAID = ("remedy", "nothing_there", "of_the_record")  # fields of a check that JSON has not
FOR_ANY_PYTEST = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")
LONGEST_REASON = 300
LONGEST_NOTE = 2000  # also of what a skip says
USUAL_REMEDY = "run the deploy again; if it stays, look at what it says on the box"


class NothingThere(Skipped):
    """Raised by a check to skip: the box has no card, or its plan no toolkit, to look at.

    Only on the survey's or the plan's word, never on that of what is checked: it counts as checked.
    """


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check on one box. `outcome` is passed, warned (it passed, and `reason` is something to
    know), failed, skipped or unasked (no answer there). `fake` where a lab's pretended card
    answered: that proves nothing. `nothing_there` where it was skipped since that box has nothing
    to look at. `of_the_record` where it carries the marker of that name: about what a
    deploy wrote down.
    """

    host: str
    component: str
    check: str
    outcome: str
    reason: str
    seconds: float
    remedy: str = ""
    fake: bool = False
    nothing_there: bool = False
    of_the_record: bool = False

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key not in NOT_SAID}


@contextmanager
def _as_we_have_it() -> Iterator[None]:
    """Without what a person set for a pytest of their own: by `-k` less would be checked."""
    theirs = {name: os.environ.pop(name) for name in FOR_ANY_PYTEST if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(theirs)


def run(
    boxes: list[Box],
    tier: str,
    progress: Callable[[Check], None],
    components: Iterable[str] = (),
) -> list[Check]:
    """Every check of this tier on every one of these boxes, as it went; or those of some
    components.

    Raises DeeprigError where the checks themselves cannot be loaded.
    """
    collector = Collector(progress)
    # fmt: off
    options = ["--tb=no", "-p", "no:cacheprovider",
               "-c", str(tree.ROOT / "pyproject.toml"), "--rootdir", str(tree.ROOT)]
    # fmt: on
    files = [str(CHECKS / f"test_{name}.py") for name in components] or [str(CHECKS)]
    before = connection.told()
    with _as_we_have_it():
        ended = pytest.main([*options, *files, "--tier", tier], plugins=[Given(boxes), collector])
    for sentence in sorted(connection.told() - before):
        screen.echo(sentence, err=True)  # pytest has taken it when it was said
    if ended == pytest.ExitCode.INTERRUPTED and not collector.broken:
        raise KeyboardInterrupt
    if collector.broken:
        raise DeeprigError(f"the checks cannot be loaded: {collector.broken[0]}")
    if ended == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise DeeprigError(f"no check is of tier {tier} or lighter; take a heavier --tier.")
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise DeeprigError(f"the checks stopped before their end ({ended!r}); run them again.")
    return collector.checks


class Given:
    """A pytest plugin that gives the boxes, so that no inventory is read for them."""

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = boxes

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[BOXES] = self.boxes


class Collector:
    """A pytest plugin that takes the place of pytest's own report."""

    def __init__(self, progress: Callable[[Check], None]) -> None:
        self.checks: list[Check] = []
        self.broken: list[str] = []
        self.progress = progress
        self._gone: dict[str, DeeprigError] = {}
        self._seconds = 0.0

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.unregister(name="terminalreporter")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(str(report.longrepr).strip().splitlines()[-1])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A box that stopped answering is not dialled again for each check that is left."""
        if error := self._gone.get(_host(item)):
            raise error.with_traceback(None)  # else it grows with each check

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._seconds = call.duration + (0 if call.when == "setup" else self._seconds)
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, DeeprigError):
            self._gone[_host(item)] = error
        if call.when == "call" or error:
            self._add(item, report, error)
        return report

    def _add(self, item: pytest.Item, report: pytest.TestReport, error: Any) -> None:
        properties = dict(item.user_properties)
        outcome = "unasked" if isinstance(error, DeeprigError) else str(report.outcome)
        if outcome == "passed" and WARNING in properties:
            outcome = "warned"
        why = reason(report, error) or str(properties.get(WARNING) or properties.get(NOTE) or "")
        check = Check(
            host=_host(item),
            component=item.path.stem.removeprefix("test_"),
            check=visible(sentence(item)),
            outcome=outcome,
            reason=visible(why[:LONGEST_NOTE]),  # a box's own words may be of any length
            seconds=round(self._seconds, 3),
            remedy=_argument(item, "remedy") or USUAL_REMEDY,
            fake=FAKE in properties,
            nothing_there=isinstance(error, NothingThere),
            of_the_record=item.get_closest_marker("of_the_record") is not None,
        )
        self.checks.append(check)
        self.progress(check)


def sentence(item: pytest.Item) -> str:
    """The check's name as it is read aloud; what it is repeated over stands behind a colon."""
    name, _, parameters = item.name.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    rest = parameters.removesuffix("]").replace(_host(item), "", 1).strip("-")
    return f"{words}: {rest}" if rest else words


def reason(report: pytest.TestReport, error: Any) -> str:
    """Why it did not pass, in one line; empty where it did."""
    if report.passed or error is None:
        return ""
    if isinstance(error, Skipped):
        return str(error.msg)
    first, *more = str(error).strip().splitlines() or [""]
    # `assert False` alone says nothing: what was false stands in pytest's next line.
    if re.fullmatch(r"assert (not )?\w+", first) and more:
        first = f"{first}, {more[0].strip().lstrip('+ ')}"
    kind = "" if isinstance(error, (AssertionError, DeeprigError)) else f"{type(error).__name__}: "
    return f"{kind}{first}"[:LONGEST_REASON]


def tier_of(item: pytest.Item) -> str:
    """The tier a check is marked with; `live` where it is not."""
    return _argument(item, "tier") or "live"


def _argument(item: pytest.Item, marker: str) -> str:
    mark = item.get_closest_marker(marker)
    return str(mark.args[0]) if mark else ""


def _host(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params["box"][0]) if callspec and "box" in callspec.params else "here"
