"""Where the time of a run went."""

from xml.etree import ElementTree

from deeprig.runner.timeline import Step, drawn, lines


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


def test_the_picture_has_all_boxes_on_one_scale() -> None:
    boxes = {"rig1": [Step("a & b", 0.0, 40.0)], "rig2": [Step("c", 0.0, 80.0)], "rig3": []}
    picture = ElementTree.fromstring(drawn(boxes))
    words = [found.text for found in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["rig1: 40.0 s, 0.0 of them in short steps", "40.0 s a & b",
                     "rig2: 80.0 s, 0.0 of them in short steps", "80.0 s c"]  # fmt: skip
    widths = [r.get("width") for r in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == ["210", "420"]
