"""`deeprig init` on a box as the installer leaves it: one sitting, then a deploy that starts."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import boxes
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT
from tests.lab.sitting import Sitting

pytestmark = pytest.mark.lab

DEPLOY_SECONDS = 180


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """As an installer leaves it; nobody has been there."""
    name = "t-init"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    yield boxes.up(name, os=str(request.config.getoption("--os")), bare=True)
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as it is fetched, without anybody's rigs.py."""
    made = tmp_path_factory.mktemp("checkout")
    for name in ("inventory.py", "deploy.py"):
        (made / name).symlink_to(ROOT / name)
    return made


@pytest.fixture(scope="module")
def written(box: boxes.Box, folder: Path) -> str:
    """What the sitting ended with."""
    key = folder / "id_ed25519"
    sitting = Sitting(
        folder, DEEPRIG, "init", f"ai@{box.host}", "--name", "rig1", "--key", str(key)
    )
    sitting.answer("Make it now, an ed25519 key", "y")
    sitting.answer("Is it?", "y")
    sitting.answer("Password of ai", box.password)
    sitting.answer("Who computes there", "")
    sitting.answer("Frameworks", "none")
    sitting.answer("Docker", "")
    code, said = sitting.end()
    assert code == 0, said
    return said


def test_one_sitting_writes_an_inventory_and_names_the_next_command(
    box: boxes.Box, folder: Path, written: str
) -> None:
    assert "rig1: Debian GNU/Linux 13" in written
    assert written.rstrip().endswith(".venv/bin/pyinfra inventory.py deploy.py")
    assert "In the way" not in written
    text = (folder / "rigs.py").read_text()
    print(text)
    assert f'hostname="{box.host}"' in text and 'notebook=Notebook(user="ai")' in text
    assert "no NVIDIA card was found" in text
    assert box.password not in text + written


def test_what_is_there_is_never_overwritten(box: boxes.Box, folder: Path, written: str) -> None:
    before = (folder / "rigs.py").read_bytes()
    done = subprocess.run(
        [DEEPRIG, "init", f"ai@{box.host}", "--name", "rig2", "--key", "id_ed25519", "--yes",
         "--docker", "--json"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["written"] is None and 'box(\n        "rig2"' in said["text"]
    assert (said["docker"], said["frameworks"], said["work_user"]) == (True, [], "ai")
    assert (folder / "rigs.py").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--frameworks", "keras"), "'keras' is none of torch, jax, tensorflow, none."),
        (("--disk", "WD-1"), "No disk 'WD-1' there could be for /data; there are: none."),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    box: boxes.Box, folder: Path, written: str, words: tuple[str, ...], sentence: str
) -> None:
    done = subprocess.run(
        [DEEPRIG, "init", f"ai@{box.host}", "--key", "id_ed25519", "--yes", *words],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_the_plan_and_the_deploy_go_on_from_there(folder: Path, written: str) -> None:
    plan = subprocess.run(
        [DEEPRIG, "plan", "--json"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert plan.returncode == 0, plan.stdout + plan.stderr
    with subprocess.Popen(
        [PYINFRA, "-y", "inventory.py", "deploy.py"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as deploy:  # fmt: skip
        assert deploy.stdout
        said = ""
        until = time.monotonic() + DEPLOY_SECONDS
        for line in deploy.stdout:
            said += line
            if "Base | Install the tools of every day" in line and "Starting" in line:
                break
            assert time.monotonic() < until, said
        deploy.kill()  # it starts, which is what was to be seen
    assert "Base | Install the tools of every day" in said, said
    assert "rror" not in said.partition("Starting operation")[0], said
