"""What a contributor's tools run is what the lanes run, and coverage is told as it was measured."""

import shlex
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.covered import table
from tests.lanes import BIN, LANES

ROOT = Path(__file__).parents[2]


def test_pre_commit_runs_the_lane_lint() -> None:
    config = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text())
    [repository] = config["repos"]
    assert repository["repo"] == "local"  # nothing is fetched but by the lock
    hooks = [shlex.split(hook["entry"]) for hook in repository["hooks"]]
    # By whatever name Python was started.
    names = {str(path): path.name for path in BIN.iterdir()} | {sys.executable: "python"}
    lane = [[f".venv/bin/{names[word]}" if word in names else word for word in command]
            for command in LANES["lint"]]  # fmt: skip
    assert hooks == lane
    assert not any(hook["pass_filenames"] for hook in repository["hooks"])


def test_each_folder_has_a_row_and_what_was_not_measured_is_no_number() -> None:
    half = {
        "covered_lines": 1, "num_statements": 2, "covered_branches": 1, "num_branches": 4,
    }  # fmt: skip
    whole = dict.fromkeys(half, 2)
    found = table({"deeprig/a.py": half, "deeprig/b.py": whole, "deeprig_cli/c.py": half})
    rows = [line.split() for line in found.splitlines()]
    assert rows[1] == ["deeprig", "75.0%", "50.0%", "2"]
    assert rows[2] == ["deeprig_cli", "50.0%", "25.0%", "1"]
    assert rows[3] == ["tasks", "-", "-", "0"]
    assert rows[-1] == ["together", "66.7%", "40.0%", "3"]
