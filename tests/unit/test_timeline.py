"""Where the time of a run went."""

from deeprig.runner.timeline import Step, lines


def test_long_steps_have_a_bar_where_they_stood_and_short_ones_a_sum() -> None:
    steps = [
        Step("Base | a", 10.0, 30.0),
        *(Step("short", 30.0, 30.1) for _ in range(7)),
        Step("Base | b", 40.0, 80.0),
        Step("never ended", 80.0),
    ]
    assert lines(steps) == [
        "Where 80.0 s went:",
        f"   10.0 s  {'#####':40}  reading what is there",
        f"   20.0 s  {'     ##########':40}  Base | a",
        f"   40.0 s  {' ' * 20 + '#' * 20}  Base | b",
        "    0.7 s in 7 other steps",
    ]


def test_a_run_without_steps_says_nothing() -> None:
    assert lines([]) == []
