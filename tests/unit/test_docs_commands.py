"""What the documents tell a person to type is there: verbs, options, targets, lanes."""

import re

import click

from deeprig_cli.cli import main
from tests.documents import PAGES, TOP, commands, lines
from tests.lab import test_walk
from tests.lanes import LANES


def why_not(words: list[str]) -> str:
    """What click would say against these words after `deeprig`; nothing where it takes them."""
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        asked = command.get_command(click.Context(command), rest[0])
        if asked is None:
            return f"there is no {rest[0]}"
        command, rest = asked, rest[1:]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    own = rest[: rest.index("--")] if "--" in rest else rest
    given = [word.partition("=")[0] for word in own if word.startswith("-")]
    return ", ".join(
        f"{command.name} has no {word}" for word in given if word not in options | {"--help"}
    )


def test_the_control_sees_what_is_not_there() -> None:
    assert why_not(["vreify"]) == "there is no vreify"
    assert why_not(["driver", "upgrade", "--brnach", "595"]) == "upgrade has no --brnach"
    assert why_not(["run", "rig1", "train", "--", "python", "--lr"]) == ""


def test_every_deeprig_command_in_the_documents_is_one() -> None:
    found = commands("deeprig")
    assert len(found) > 60
    wrong = {f"{page.name}: {' '.join(words)}": why for page, words in found
             if words[0] not in ("VERB", "[OPTIONS]") and (why := why_not(words))}  # fmt: skip
    assert wrong == {}


def test_every_make_target_and_lane_in_the_documents_is_one() -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
    found = [(page, word) for page, words in commands("make") for word in words]
    assert found
    for page, word in found:
        name, _, value = word.partition("=")
        if not value and "=" not in word:
            assert name in targets, f"{page.name}: make {word}"
        elif name == "LANE" and value not in ("...", "NAME"):
            assert value in LANES, f"{page.name}: make {word}"


# How lines begin that show what is printed or written down, and not what is typed.
SHOWN = {
    "!!", "...", "[--iommu]", "loaded", "ok", "plan", "rig1.lan:", "rigs", "{", '"cuda_source":',
    '"torch":', '{"driver_branch":', '{"host":',
    'Rig(ssh=Ssh(keep_host_keys="~/.ssh/id_ed25519.pub"))',
}  # fmt: skip


def test_every_command_in_the_documents_is_run_by_a_test() -> None:
    """By the walk, or by the lane that is named for it."""
    programs = {"$EDITOR", "age", "cat", "conda", "deeprig", "make", "pyinfra", "python", "rsync"}
    programs |= {"ssh", "sudo", "uv"}
    shown = {line for page in PAGES for line in lines(page) if line}
    first = {line: line.removeprefix(".venv/bin/").split()[0] for line in shown}
    assert {*first.values()} - programs <= SHOWN  # else it is a program that nobody knows yet
    there = {line for line in shown if first[line] in programs}
    walked = {*test_walk.README, *test_walk.DOCS}
    assert there == walked | {*test_walk.ELSEWHERE}
    assert not walked & {*test_walk.ELSEWHERE}
    assert {*test_walk.ELSEWHERE.values()} <= {*LANES, *test_walk.NOWHERE}
