"""The parts of the lab that need no machine."""

import ast
from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from lab import boxes, images, inventory_file, network, recipes


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> boxes.Box:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return boxes.Box(
        name="rig-1",
        kind="container",
        os="debian-13",
        host="198.18.86.10",
        bare=False,
        password="secret",
        image="/nowhere",
    )


@pytest.mark.parametrize("name", ["rig1", "a", "rig-1", "a" * 32])
def test_a_host_name_names_a_box(name: str) -> None:
    assert boxes.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "1rig", "Rig", "rig_1", "-rig", "rig-", "a.b", "../x", "a" * 33]
)
def test_what_is_no_host_name_names_no_box(name: str) -> None:
    with pytest.raises(DeeprigError, match="such as rig-1"):
        boxes.check_name(name)


def test_a_box_gets_the_first_address_nobody_has() -> None:
    assert network.free_address(set()) == "198.18.86.10"
    assert network.free_address({"198.18.86.10", "198.18.86.12"}) == "198.18.86.11"


def test_a_full_lab_says_so() -> None:
    taken = {f"198.18.86.{last}" for last in range(10, 200)}
    with pytest.raises(DeeprigError, match=r"all 190 addresses .* are taken"):
        network.free_address(taken)


def test_an_unknown_box_is_answered_with_those_there_are(box: boxes.Box) -> None:
    with pytest.raises(DeeprigError, match="no box is named 'rig2'; there is none"):
        boxes.get("rig2")
    box.save()
    with pytest.raises(DeeprigError, match="no box is named 'rig2'; there are: rig-1"):
        boxes.get("rig2")
    assert boxes.get("rig-1") == box


def test_a_bare_box_is_shown_with_its_password_and_no_key(box: boxes.Box) -> None:
    shown = box.public()
    assert (shown["user"], shown["password"], shown["key"]) == ("ai", "secret", None)


def test_a_bootstrapped_box_is_shown_with_its_key_and_no_password(box: boxes.Box) -> None:
    rule = box.upper / "etc/sudoers.d/50-deeprig"
    rule.parent.mkdir(parents=True)
    rule.touch()
    shown = box.public()
    assert (shown["user"], shown["key"]) == ("deeprig", str(box.key))
    assert "password" not in shown


def test_the_inventory_is_python_that_says_where_the_box_is(box: boxes.Box) -> None:
    [call] = [
        node
        for node in ast.walk(ast.parse(inventory_file.text(box)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "box"
    ]
    said = {word.arg: word.value for word in call.keywords}
    assert ast.literal_eval(call.args[0]) == "rig-1"
    assert ast.literal_eval(said["hostname"]) == "198.18.86.10"
    assert ast.literal_eval(said["key"]) == str(box.key)
    assert ast.literal_eval(said["known_hosts"]) == str(box.known_hosts)


def test_each_base_system_has_a_key_of_its_own() -> None:
    keys = {recipe.key for recipe in recipes.RECIPES.values()}
    assert len(keys) == len(recipes.RECIPES)


def test_a_changed_hook_is_another_base_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.RECIPES["debian-13"]
    monkeypatch.setattr(recipes, "DRESSINGS", tmp_path)
    hook = tmp_path / "installed" / "hook.sh"
    hook.parent.mkdir()
    hook.write_text("one")
    before = recipe.key
    hook.write_text("two")
    assert recipe.key != before


def test_an_archive_that_cannot_be_reached_is_named_in_one_line() -> None:
    said = images.explain(
        "ubuntu-24.04",
        [
            "I: running apt-get update...",
            "Err:1 http://archive.example/ubuntu noble InRelease",
            "  Temporary failure resolving 'archive.example'",
            "E: apt-get update failed",
        ],
    )
    assert "no way to archive.example from here; use --os ubuntu-like" in said
    assert "\n" not in said


def test_another_failure_is_told_in_mmdebstraps_words() -> None:
    said = images.explain(
        "debian-13", ["I: fine", "E: no space left", "E: mmdebstrap failed to run"]
    )
    assert "'E: no space left'" in said
