"""What all unit tests share."""

from collections.abc import Iterator
from datetime import date

import pytest

from deeprig import outlook, plan, stack


class TheDay(date):
    """The day of the tables. A plan is of its day, and the tests name what is planned."""

    @classmethod
    def today(cls) -> "TheDay":
        return cls(2026, 11, 30)


@pytest.fixture(autouse=True, scope="session")
def day() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (stack, outlook, plan):
            patch.setattr(module, "date", TheDay)
        yield
