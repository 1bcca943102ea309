"""No program of root's finds its modules in a folder that is somebody else's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deeprig.operations import box_program

ROOT = Path(__file__).parents[2]
PLACES = ("deeprig", "deeprig_cli", "tasks", "box", "files", "templates", "fast_ssh", "tests/host")
# The box's own, on a command line or in a list of its words; an environment's is run by its user.
RUN = re.compile(r"\bpython3\b((?:[\"',\s]+-[A-Za-z]*(?![\w-]))+)")


def from_elsewhere(text: str) -> list[str]:
    """Each Python that gets its program as a word, on stdin or by a module's name, not isolated."""
    return [
        match.group()
        for match in RUN.finditer(text)
        for flags in [re.findall(r"-\w*", match.group(1))]
        if any(flag == "-" or flag[-1] in "cm" for flag in flags)
        and not any("I" in flag for flag in flags)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_a_program_that_is_no_file_is_run_isolated(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {one}"
        for path in sorted((ROOT / place).rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
        for one in from_elsewhere(path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["python3 -EsB - <<END", "python3 -c 'x'", '/bin/python3", "-m", "venv"', "python3 -EsBc 1"],
)
def test_the_rule_sees_one_that_is_not(text: str) -> None:
    assert from_elsewhere(text)


def test_the_program_keeps_others_modules_out() -> None:
    """Its own folder is root's; the current one, a user's packages and PYTHONPATH are not."""
    files = box_program.files()
    lines = {str(path.relative_to(ROOT)): path.read_text().partition("\n")[0] for path in files}
    python = {path: line for path, line in lines.items() if re.match("#!.*python", line)}
    assert python == {"box/deeprig-box": "#!/usr/bin/python3 -ISB"}


def test_a_module_in_the_current_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("print('evil')\n")
    ask = ["sh", "-c", box_program.command("import json; print(json.dumps([1]))")]
    plain = [sys.executable, "-EsB", "-c", "import json"]
    said = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "[1]\n"
    control = subprocess.run(plain, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert control.stdout == "evil\n"
