"""What stands below the pages of several boxes."""

from click import unstyle

from deeprig.ui import summary
from deeprig.ui.summary import Line

GOOD, WRONG = Line("a", 0, "fine"), Line("rig2.lan", 1, "it failed")
SILENT = Line("c", 2, "no answer")


def test_each_box_has_a_line_and_the_good_are_counted() -> None:
    head, *rows = unstyle(summary.table([GOOD, WRONG, SILENT])).splitlines()
    assert head == "1 of 3 boxes are well:"
    assert rows == [
        "  a         ok         fine",
        "  rig2.lan  wrong      it failed",
        "  c         not asked  no answer",
    ]


def test_one_box_has_no_summary() -> None:
    assert summary.table([WRONG]) == ""


def test_what_is_wrong_counts_more_than_what_could_not_be_asked() -> None:
    assert summary.code([GOOD, SILENT, WRONG]) == 1
    assert summary.code([GOOD, SILENT]) == 2
    assert summary.code([GOOD, GOOD]) == summary.code([]) == 0


def test_a_long_word_is_cut_to_a_line() -> None:
    row = unstyle(summary.table([GOOD, Line("b", 1, "x " * 200)])).splitlines()[-1]
    assert len(row) <= summary.WIDEST
