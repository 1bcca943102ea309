"""What all unit tests share."""

import os
from collections.abc import Iterator
from datetime import date

import pytest

from deeprig.resolver import resolve
from deeprig_cli.plan import command, report


class TheDay(date):
    """The day of the tables. A plan is of its day, and the tests name what is planned."""

    @classmethod
    def today(cls) -> "TheDay":
        return cls(2026, 11, 30)


@pytest.fixture(autouse=True, scope="session")
def day() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (resolve, report, command):
            patch.setattr(module, "date", TheDay)
        yield


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Programs of a box set it for themselves; here it ends with the test."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
