"""deeprig_cli.verify.runner: what may not change which checks run."""

import os
from pathlib import Path

import pytest

from deeprig_cli.verify import runner

CHECKS = """
import pytest
@pytest.mark.parametrize("number", range(3))
def test_one(number): assert number != 0
"""
OPTIONS = """
def pytest_addoption(parser): parser.addoption("--tier")
"""


class Seen:
    """How many of the checks ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.ran.append(item.name)


@pytest.mark.parametrize("theirs", ["", "-x", "-k no_such_name", "--maxfail=1 --no-such-option"])
def test_options_for_a_pytest_of_ones_own_take_no_check_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    (tmp_path / "test_checks.py").write_text(CHECKS)
    (tmp_path / "conftest.py").write_text(OPTIONS)
    seen = Seen()
    monkeypatch.setattr(runner, "CHECKS", tmp_path)
    monkeypatch.setattr(runner, "Collector", lambda progress: _Quiet(seen))
    monkeypatch.setenv("PYTEST_ADDOPTS", theirs)
    runner.run([], "live", lambda check: None)
    assert len(seen.ran) == 3
    assert os.environ["PYTEST_ADDOPTS"] == theirs


class _Quiet:
    """In the place of what makes checks of tests."""

    broken: tuple[str, ...] = ()
    checks: tuple[runner.Check, ...] = ()

    def __init__(self, seen: Seen) -> None:
        self.pytest_runtest_call = seen.pytest_runtest_call
