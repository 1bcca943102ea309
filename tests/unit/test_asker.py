"""A word for the code that asks: another one after each change of it."""

from pathlib import Path

import pytest

from deeprig import tree
from deeprig.ssh import asker


def test_it_is_another_once_a_file_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    monkeypatch.setattr(tree, "CODE", tmp_path)
    made = tmp_path / "tasks/users.py"
    made.parent.mkdir()
    found = []
    for text in ("a", "b ", "b "):
        if not made.exists() or made.read_text() != text:
            made.write_text(text)
        asker.version.cache_clear()
        found.append(asker.version())
    (tmp_path / "tasks/__pycache__").mkdir()
    (tmp_path / "tasks/__pycache__/users.pyc").write_text("compiled")
    asker.version.cache_clear()
    found.append(asker.version())
    asker.version.cache_clear()
    assert found[0] != found[1] == found[2] == found[3]


def test_every_folder_that_holds_questions_is_there() -> None:
    assert all(tree.place(folder).is_dir() for folder in asker.FOLDERS)
