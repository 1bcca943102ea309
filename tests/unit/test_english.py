"""What is parsed is said in English, whatever language the box speaks with people."""

import subprocess
from typing import Any

import pytest
from deeprig_box.__main__ import COMMANDS

from deeprig.settings import Rig, box
from fast_ssh import frames
from tests.lanes import ROOT
from tests.unit.box_scripts import SCRIPTS

# These parse nothing, or only what they start in an environment of their own.
WITHOUT = {
    "as-user": "passes on what another program prints, in an environment made for it",
    "bounded": "passes on what another program prints",
    "driver-waiting": "what it starts is asked in English (lib/bounded.py)",
    "home-links": "starts nothing",
    "job": "has an environment made for it, LANG=C.UTF-8 in it",
    "job-window": "its environment is the job's, which speaks as its user wants",
    "notebook-kernels": "starts nothing",
    "notebook-run": "starts nothing but kernels, whose language is their user's",
    "notebook-window": "its environment is the notebook's; as-user starts what is parsed",
    "passthrough-bind": "reads the kernel's own files, in the initramfs too",
    "python-env": "what it starts has an environment of its own (python/step.py)",
    "tool-env": "what it starts has an environment of its own (python/step.py)",
}


def asks() -> dict[str, bool]:
    """Each program, and whether it says in which language."""
    commands = {name: bool(command.language) for name, command in COMMANDS.items()}
    return commands | {file.name: "LC_ALL" in file.read_text() for file in SCRIPTS.iterdir()}


def test_each_program_on_the_box_that_parses_asks_in_english() -> None:
    # A new one says so itself, or why it need not.
    assert {name for name, said in asks().items() if not said} == set(WITHOUT)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_kept_shell_asks_in_english_on_a_box_that_speaks_german(shell: str) -> None:
    script = f"{frames.FUNCTIONS}; sh -c 'echo $LC_ALL'"
    german = {"LANG": "de_DE.UTF-8", "LANGUAGE": "de_DE:de", "LC_ALL": "de_DE.UTF-8"}
    path = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [shell, "-c", script], env=german | path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "C\n"


def test_the_parts_of_the_survey_set_no_language_of_their_own() -> None:
    """They run in a shell that has one: a second word for it would be a second place to forget."""
    files = [*(ROOT / "deeprig").rglob("*.sh"), *(ROOT / "deeprig_cli").rglob("*.sh")]
    assert files
    for file in files:
        assert "LANG=" not in file.read_text(), file


@pytest.mark.parametrize(("connection", "said"), [("fast", None), ("ssh", {"LC_ALL": "C"})])
def test_pyinfras_own_connector_asks_in_english_too(connection: Any, said: Any) -> None:
    _, data = box("rig1", rig=Rig(connection=connection))
    assert data.get("_env") == said
