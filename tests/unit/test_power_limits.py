"""Power limits: each card's own range decides, one that cannot be had does not keep the others."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.box_scripts import loaded

A, B = "GPU-8a56a4bc-0f6e-4c7d-9b1a-2c3d4e5f6a7b", "GPU-00000000-0000-0000-0000-000000000000"
CARD = f"{A}, NVIDIA GeForce RTX 3090, 350.00, 350.00, 100.00, 366.00\n"
MOBILE = f"{B}, NVIDIA GeForce RTX 4090 Laptop GPU, [N/A], [N/A], [N/A], [N/A]\n"
Limits = Callable[..., ModuleType]


@pytest.fixture
def limits(tmp_path: Path) -> Iterator[Limits]:
    """The script on a box with these cards; `calls` is what nvidia-smi was told to set."""

    def made(asked: dict[str, int], cards: str = CARD + MOBILE) -> ModuleType:
        module.ASKED = tmp_path / "asked.json"  # type: ignore[attr-defined]
        module.OURS = tmp_path / "ours.json"  # type: ignore[attr-defined]
        module.ASKED.write_text(json.dumps([{"gpu": g, "watts": w} for g, w in asked.items()]))
        module.calls = []  # type: ignore[attr-defined]

        def nvidia_smi(*argv: str) -> str:
            if argv[0].startswith("--query-gpu"):
                return cards
            module.calls.append(argv)
            return ""

        module.nvidia_smi = nvidia_smi  # type: ignore[attr-defined]
        return module

    with loaded("nvidia.power_limits") as module:
        yield made


def test_a_limit_within_the_range_is_set_by_uuid(limits: Limits) -> None:
    module = limits({A: 280})
    assert module.check() == ["owed"]
    assert module.put_in_force() == []
    assert module.calls == [("-i", A, "-pl", "280")]


def test_a_limit_that_is_in_force_is_not_set_again(limits: Limits) -> None:
    module = limits({A: 350})
    assert module.check() == ["ok"]
    assert module.put_in_force() == []
    assert module.calls == []


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({A: 400}, f"RTX 3090 ({A}) takes 100 to 366 W, and Driver.power_limits asks for 400."),
        ({A: 90}, "takes 100 to 366 W, and Driver.power_limits asks for 90."),
        ({B: 80}, "has no power limit that could be set."),
        ({B.replace("0", "1"): 80}, "no card has that UUID; here: GPU-8a56a4bc"),
    ],
)
def test_what_cannot_be_had_is_told_and_not_tried(
    limits: Limits, asked: dict[str, int], sentence: str
) -> None:
    module = limits(asked)
    [said] = module.put_in_force()
    assert sentence in said
    assert module.calls == []


def test_one_that_cannot_be_had_does_not_keep_the_others(limits: Limits) -> None:
    module = limits({A: 300, B: 80})
    assert len(module.put_in_force()) == 1
    assert module.calls == [("-i", A, "-pl", "300")]


def test_a_card_that_is_not_listed_any_more_gets_its_default_back(limits: Limits) -> None:
    limits({A: 280}).put_in_force()
    module = limits({}, CARD.replace("350.00, 350.00", "280.00, 350.00"))
    assert module.check() == ["owed"]
    module.put_in_force()
    assert module.calls == [("-i", A, "-pl", "350")]


def test_a_card_that_says_no_limit_any_more_keeps_what_it_has(limits: Limits) -> None:
    """Its setting was dropped, and nvidia-smi answers [N/A]: there is nothing to compare."""
    limits({A: 280}).put_in_force()
    module = limits({}, CARD.replace("350.00, 350.00", "[N/A], 350.00"))
    assert module.put_in_force() == []
    assert module.calls == []
    assert module.check() == ["ok"]


def test_without_limits_the_cards_are_not_asked(limits: Limits) -> None:
    module = limits({}, cards="")
    assert module.check() == ["ok"]


def test_cards_that_do_not_answer_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """nvidia-smi is a program that hangs."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nsleep 100\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "asked.json").write_text(json.dumps([{"gpu": A, "watts": 280}]))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with loaded("nvidia.power_limits") as module:
        module.ASKED, module.SECONDS = tmp_path / "asked.json", 0.3
        assert module.check() == ["later: nvidia-smi does not answer within 0.3 s"]


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[1]", "[{}]", "null", '[{"gpu": 1, "watts": 2}]']
)
def test_a_file_that_is_gone_or_spoilt_is_a_sentence(
    limits: Limits, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    module = limits({})
    module.ASKED.unlink()
    if text is not None:
        module.ASKED.write_text(text)
    [said] = module.check()
    if text == "{}":  # no limits at all
        assert said == "ok"
        return
    assert said.startswith(f"later: {module.ASKED} is ")
    monkeypatched = module.sys.argv
    module.sys.argv = ["power-limits"]
    try:
        assert module.main() == 1
    finally:
        module.sys.argv = monkeypatched
    assert f"No power limit is set: {module.ASKED} is " in capsys.readouterr().err


def test_what_it_remembers_may_be_spoilt(limits: Limits) -> None:
    module = limits({A: 350})
    module.OURS.write_text("{")
    assert module.check() == ["ok"]
