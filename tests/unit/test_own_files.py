"""One question about all files says what a question about each says."""

import subprocess
from pathlib import Path

import pytest

from deeprig.operations import managed_files
from deeprig.operations.facts import FileOnHost, FileState
from deeprig.operations.managed_files import OwnFiles


def said(command: str) -> list[str]:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def one(path: Path) -> FileOnHost | None:
    output = said(FileState().command(path=str(path)).get_raw_value())
    return FileState().process(output) if output else None


def test_it_says_of_each_what_a_question_of_its_own_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, empty, odd, folder, link, nowhere, absent = paths = [
        tmp_path / name
        for name in ("full", "empty", "it's $HOME", "folder", "link", "nowhere", "absent")
    ]
    full.write_text("a|b  c\n")
    empty.touch(mode=0o600)
    odd.write_text("odd")
    folder.mkdir()
    link.symlink_to(full)
    nowhere.symlink_to(absent)
    monkeypatch.setattr(managed_files, "PATHS", frozenset(str(path) for path in paths))
    found = OwnFiles().process(said(OwnFiles().command().get_raw_value()))
    assert {str(path): state for path in paths if (state := one(path))} == found
    assert set(found) == {str(path) for path in (full, empty, odd, folder, link)}
    assert found[str(folder)].sha256 == "-"


def test_the_paths_are_those_of_the_sources() -> None:
    assert {
        "/etc/deeprig/tmux.conf",
        "/etc/deeprig/notebook.conf",
        "/opt/deeprig/uv.lock",
    } <= managed_files.PATHS
    assert not [path for path in managed_files.PATHS if path.endswith((".j2", ".pyc"))]
    assert all(path.startswith("/") for path in managed_files.PATHS)
