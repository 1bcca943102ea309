"""From single checks to a page and an exit code."""

import traceback
from dataclasses import replace

import pytest
from click import unstyle

from deeprig.settings import Rig
from deeprig_cli.verify import watch
from deeprig_cli.verify.command import REQUIRED, missing, required, verdict
from deeprig_cli.verify.report import page
from deeprig_cli.verify.runner import Check
from deeprig_cli.verify.watch import changes, keep

pytest_plugins = ["pytester"]
BOXES = [("rig1", {"rig": Rig()})]


def check(
    outcome: str,
    component: str = "ssh",
    reason: str = "",
    said: str = "a password login is refused",
) -> Check:
    return Check(
        host="rig1",
        component=component,
        check=said,
        outcome=outcome,
        reason=reason,
        seconds=0.1,
        remedy="run the deploy again",
    )


ENOUGH = [
    check("passed", name, said=f"check {number}")
    for name, least in REQUIRED.items()
    for number in range(least)
]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (ENOUGH, 0),
        ([*ENOUGH, check("skipped")], 0),
        ([*ENOUGH, check("failed")], 1),
        ([*ENOUGH, check("failed"), check("unasked")], 1),
        ([*ENOUGH, check("unasked")], 2),
        (ENOUGH[1:], 2),
        ([], 2),
    ],
)
def test_the_exit_code_says_what_was_found(found: list[Check], code: int) -> None:
    assert verdict(found, missing(found, BOXES, "functional")) == code


def test_a_skip_does_not_count_as_checked() -> None:
    found = [replace(one, outcome="skipped") if one.component == "ssh" else one for one in ENOUGH]
    assert missing(found, BOXES, "functional") == {"rig1": ["ssh: 0 ran, at least 4 must"]}


def test_what_a_fake_card_answered_counts_for_nothing() -> None:
    found = [replace(one, fake=one.component == "gpu_live") for one in ENOUGH]
    lacking = missing(found, BOXES, "functional")
    number = REQUIRED["gpu_live"]
    assert lacking == {
        "rig1": [
            f"{number} ran on a fake GPU, which proves nothing of a real one",
            f"gpu_live: 0 ran, at least {number} must",
        ]
    }
    assert verdict(found, lacking) == 2
    assert verdict(found, missing(found, BOXES, "live")) == 2  # in every tier


def test_a_box_without_a_card_needs_no_check_of_one() -> None:
    gpu = ("driver", "gpu_settings", "gpu_live", "cuda")
    why = "there is no NVIDIA card in the box, and none to prepare for"
    without = [
        replace(one, outcome="skipped", reason=why, nothing_there=True)
        if one.component in gpu
        else one
        for one in ENOUGH
    ]
    assert verdict(without, missing(without, BOXES, "live")) == 0
    assert missing(without, BOXES, "functional") == {}
    one_ran = [*without, check("passed", "driver")]
    assert missing(one_ran, BOXES, "functional") == {}
    others = [one for one in one_ran if one.component != "driver" or one.outcome == "passed"]
    assert missing(others, BOXES, "functional") == {"rig1": ["driver: 1 ran, at least 4 must"]}


def test_the_words_of_a_skip_do_not_make_it_count() -> None:
    """A box with a card, whose live checks were all skipped: nothing was proved of the card."""
    why = "there is no NVIDIA card in the box"
    skipped = [
        replace(one, outcome="skipped", reason=why) if one.component == "gpu_live" else one
        for one in ENOUGH
    ]
    for tier in ("live", "functional", "burn-in"):
        lacking = missing(skipped, BOXES, tier)
        assert lacking == {"rig1": ["gpu_live: 0 ran, at least 6 must"]}
        assert verdict(skipped, lacking) == 2
    assert missing(skipped, BOXES, "config") == {}
    no_driver = [("rig1", {"rig": Rig(driver=None)})]
    assert missing(skipped, no_driver, "live") == {}


def test_a_plan_without_a_toolkit_needs_no_check_of_one() -> None:
    """As on Debian 13, where NVIDIA has none that driver 580 runs; the plan warns of it."""
    why = "there is no CUDA in the plan: none of them fits"
    without = [
        replace(one, outcome="skipped", reason=why, nothing_there=True)
        if one.component == "cuda"
        else one
        for one in ENOUGH
    ]
    assert missing(without, BOXES, "functional") == {}
    other = [replace(one, nothing_there=False) for one in without]
    assert missing(other, BOXES, "functional") == {"rig1": ["cuda: 0 ran, at least 4 must"]}


def test_a_warning_is_shown_and_changes_no_exit_code() -> None:
    warned = check("warned", "driver", "595 gets no fixes any more")
    found = [*ENOUGH, warned]
    assert verdict(found, missing(found, BOXES, "functional")) == 0
    text = page(found, {}, every=True)
    assert "1 warned" in text
    assert "  !  driver: a password login is refused: 595 gets no fixes any more" in page(found, {})
    assert "\x1b[33m! \x1b[0m a password login is refused (595 gets no fixes any more)" in text


def test_the_page_says_where_a_card_is_fake() -> None:
    found = [replace(check("passed"), fake=True), replace(check("failed"), fake=True)]
    assert page(found, {}, every=True).count("a password login is refused [fake GPU]") == 2
    assert page(found, {}).count("[fake GPU]") == 2


def test_a_check_repeated_over_files_counts_once() -> None:
    repeated = [check("passed", said=f"host keys are private: {file}") for file in "abcdef"]
    others = [one for one in ENOUGH if one.component != "ssh"]
    assert missing([*others, *repeated], BOXES, "functional") == {
        "rig1": ["ssh: 1 ran, at least 4 must"]
    }


def test_a_part_that_is_left_alone_needs_no_checks() -> None:
    assert "notebook" in required(Rig(), "functional")
    assert "notebook" not in required(Rig(notebook=None), "functional")
    assert "firewall" not in required(Rig(firewall=None), "functional")


def test_a_box_that_did_not_answer_is_not_blamed_twice() -> None:
    assert missing([check("unasked")], BOXES, "functional") == {}


def test_the_page_begins_with_what_failed_and_what_to_do() -> None:
    found = [
        check("passed", "base"),
        check("skipped", "base", "no GRUB here"),
        check("failed", "ssh", "assert 'yes' == 'no'"),
    ]
    lines = page(found, {"rig1": ["users: 0 ran, at least 4 must"]}, every=True).splitlines()
    assert [line.strip() for line in lines] == [
        "\x1b[1mrig1: 1 failed, 1 passed, 1 skipped in 0.3 s\x1b[0m",
        "\x1b[31m  too little was checked: users: 0 ran, at least 4 must\x1b[0m",
        "\x1b[31m  !! ssh: a password login is refused\x1b[0m",
        "it says: assert 'yes' == 'no'",
        "to do:   run the deploy again",
        "",
        "base",
        "\x1b[32mok\x1b[0m a password login is refused",
        "\x1b[33m--\x1b[0m a password login is refused (no GRUB here)",
    ]


def test_that_no_deploy_came_to_its_end_stands_before_what_comes_of_it() -> None:
    found = [
        check("failed", "base"),
        check("failed", "manifest", said="a deploy has come to an end"),
    ]
    first, second = [line for line in unstyle(page(found, {})).splitlines() if "!!" in line]
    assert "manifest: a deploy has come to an end" in first
    assert "base: " in second


def test_in_short_a_component_is_a_line_and_a_reason_stands_once() -> None:
    found = [
        check("passed", "base"),
        check("passed", "base"),
        *[check("skipped", "gpu_live", "no NVIDIA card in the box")] * 3,
    ]
    assert unstyle(page(found, {})).splitlines()[1:] == [
        "",
        "  ok base      2 passed",
        "  -- gpu live  3 skipped",
        "               -- 3 x no NVIDIA card in the box",
    ]


def test_several_boxes_have_a_summary_below() -> None:
    found = [
        check("passed"),
        replace(check("failed"), host="rig2"),
        replace(check("unasked", reason="rig3 port 22 does not answer"), host="rig3"),
    ]
    assert [line.split()[:2] for line in unstyle(page(found, {})).splitlines()[-4:]] == [
        ["1", "of"], ["rig1", "ok"], ["rig2", "wrong"], ["rig3", "not"],
    ]  # fmt: skip


def test_a_watch_says_what_changed_and_nothing_else() -> None:
    before = [check("passed"), check("failed", "base"), check("skipped", "users")]
    now = [
        check("failed"),
        check("passed", "base"),
        check("skipped", "users"),
        check("passed", "cuda"),
    ]
    assert [(was, one.component, one.outcome) for was, one in changes(before, now)] == [
        ("passed", "ssh", "failed"),
        ("failed", "base", "passed"),
        ("not asked", "cuda", "passed"),
    ]
    assert changes(now, now) == []


def test_a_watch_looks_until_it_is_stopped_and_its_end_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [[check("failed", reason="it is open")], [check("passed")]]
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: None)

    def again() -> list[Check]:
        if not looks:
            raise KeyboardInterrupt
        return looks.pop(0)

    assert keep([check("passed")], again, 10, as_json=False) == [check("passed")]
    said = unstyle(capsys.readouterr().out).splitlines()
    assert "ssh: a password login is refused: passed -> failed: it is open; to do: run" in said[0]
    assert said[1].endswith("failed -> passed") and len(said) == 2


def test_a_box_that_is_off_is_one_line_however_many_checks_there_are() -> None:
    text = page([check("unasked", reason="rig1 port 22 does not answer")] * 30, {})
    assert text.count("does not answer") == 1
    assert "30 unasked" in text


def test_a_check_says_of_itself_what_there_is_to_know(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_gpu_live="""
        def test_it_is_warned(request): request.node.user_properties.append(("warning", "old"))
        def test_it_has_a_note(request): request.node.user_properties.append(("note", "ECC on"))
        def test_it_failed(request):
            request.node.user_properties += [("warning", "old"), ("fake", "rtx-3090")]
            assert 1 == 2, "wrong"
        """
    )
    found = collect(pytester)
    assert [(one.outcome, one.reason, one.fake) for one in found] == [
        ("warned", "old", False),
        ("passed", "ECC on", False),
        ("failed", "wrong", True),
    ]


def test_what_a_box_says_in_a_note_or_a_skip_is_shown_in_part(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_gpu_live="""
        import pytest
        def test_noted(request): request.node.user_properties.append(("note", "y" * 2**20))
        def test_skipped(): pytest.skip("y" * 2**20)
        def test_failed(): assert False, "y" * 2**20
        """
    )
    assert all(1 < len(one.reason) < 5000 for one in collect(pytester))


def test_a_box_with_nothing_to_look_at_is_told_from_one_that_was_not_looked_at(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_gpu_live="""
        import pytest
        from deeprig_cli.verify.runner import NothingThere

        @pytest.fixture(scope="module")
        def card(): raise NothingThere("there is no NVIDIA card in the box")
        def test_it_answers(card): pass
        def test_it_is_cool(card): pass
        def test_it_computes(): pytest.skip("there is no NVIDIA card in the box")
        """
    )
    found = collect(pytester)
    assert [one.nothing_there for one in found] == [True, True, False]
    assert {(one.outcome, one.reason) for one in found} == {
        ("skipped", "there is no NVIDIA card in the box")
    }
    assert "nothing_there" not in found[0].to_json()


def test_a_check_of_what_a_deploy_wrote_down_is_told_from_the_others(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nmarkers = of_the_record")
    pytester.makepyfile(
        test_driver="""
        import pytest

        @pytest.mark.of_the_record
        def test_it_is_written(): pass
        def test_it_answers(): pass
        """
    )
    assert [one.of_the_record for one in collect(pytester)] == [True, False]


def test_checks_are_collected_as_sentences_with_reasons(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_ssh="""
        import pytest
        from deeprig.errors import DeeprigError

        def test_a_key_opens_the_door(): pass
        @pytest.mark.parametrize("file", ["a", "b"])
        def test_a_file_is_private(file): assert file == "a"
        def test_it_is_armed(): pytest.skip("no card here")
        def test_a_value_is_a_number(): int("x")
        def test_the_reason_comes_first(): assert 1 == 2, "the port is taken by nginx"
        def test_what_was_false_is_said(): assert bool([])
        def test_it_does_not_answer(): raise DeeprigError("rig1 is off")
        def test_nobody_asks_again(): pass
        """
    )
    found = collect(pytester)
    assert [(one.check, one.outcome, one.reason) for one in found] == [
        ("a key opens the door", "passed", ""),
        ("a file is private: a", "passed", ""),
        ("a file is private: b", "failed", "assert 'b' == 'a'"),
        ("it is armed", "skipped", "no card here"),
        (
            "a value is a number",
            "failed",
            "ValueError: invalid literal for int() with base 10: 'x'",
        ),
        ("the reason comes first", "failed", "the port is taken by nginx"),
        ("what was false is said", "failed", "assert False, where False = bool([])"),
        ("it does not answer", "unasked", "rig1 is off"),
        ("nobody asks again", "unasked", "rig1 is off"),
    ]
    assert {one.component for one in found} == {"ssh"}


def test_a_check_of_a_box_that_is_gone_costs_no_more_than_the_one_before(
    pytester: pytest.Pytester,
) -> None:
    """With 250 checks it took half of the time until a box that is off was said to be off."""
    pytester.makepyfile(
        test_ssh="""
        from deeprig.errors import DeeprigError

        def test_it_does_not_answer(): raise DeeprigError("rig1 is off")
        def test_a(): pass
        def test_b(): pass
        def test_c(): pass
        """
    )
    depths = []

    class Depths:
        @pytest.hookimpl(tryfirst=True)
        def pytest_exception_interact(self, call: pytest.CallInfo[None]) -> None:
            assert call.excinfo
            depths.append(len(list(traceback.walk_tb(call.excinfo.value.__traceback__))))

    collect(pytester, Depths())
    assert len(depths) == 4
    assert len(set(depths[1:])) == 1


def collect(pytester: pytest.Pytester, *plugins: object) -> list[Check]:
    from deeprig_cli.verify.runner import Collector

    collector = Collector(lambda one: None)
    pytester.inline_run("-p", "no:cacheprovider", plugins=[collector, *plugins])
    return collector.checks
