"""An account that is taken away: shut at once, gone when nothing of theirs runs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deeprig.facts import people
from deeprig.runner import runs
from deeprig.settings import Rig, User
from tasks import users

TAKE = "Users | Take otto's account away, the home stays"


def plan(answer: str, **data: Any) -> list[str]:
    """What would change on a box that says this of otto's account."""
    host: dict[str, Any] = {
        "rig": Rig(),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {"getent shadow": answer},
        **data,
    }
    away = (User(name="otto", present=False),)
    report = runs.run("@fake/rig1", host, lambda rig: users.provide(settings=away), dry=True)
    assert report.error is None
    return report.changes


@pytest.mark.parametrize(
    ("answer", "data", "changes"),
    [
        ("", {}, []),  # no such account
        ("-", {}, [TAKE]),
        ("- python3, tmux: server", {}, [TAKE]),  # it is shut
        ("1 python3, tmux: server", {}, []),  # it is shut already, and left
        ("1 python3", {"force": "now"}, [TAKE]),
        ("1", {}, [TAKE]),
    ],
)
def test_work_of_theirs_keeps_an_account_until_it_ends(
    answer: str, data: dict[str, Any], changes: list[str]
) -> None:
    assert plan(answer, **data) == changes


@pytest.mark.parametrize(
    ("shell", "kept"),
    [
        ("/bin/bash", True),
        ("/bin/sh", True),
        ("{}/fish", True),
        ("/usr/sbin/nologin", False),
        ("/bin/false", False),
        ("/gone/zsh", False),
        ("", False),
    ],
)
def test_a_shell_that_somebody_has_chosen_stays(shell: str, kept: bool, tmp_path: Path) -> None:
    (tmp_path / "fish").write_text("#!/bin/sh\n")
    (tmp_path / "fish").chmod(0o755)
    shell = shell.replace("{}", str(tmp_path))
    asked = f"getent() {{ echo otto:x:1000:1000::/home/otto:{shell}; }}\n{people.SCRIPT}"
    done = subprocess.run(
        ["sh", "-c", f"{asked}\nshell_of otto"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (shell if kept else "")
