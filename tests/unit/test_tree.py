"""The wheel holds all that the product needs under names of its own; an editable install is the
tree itself, and no copy of it.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deeprig import tree

ROOT = Path(__file__).parents[2]
PACKAGES = ("deeprig", "deeprig_cli", "fast_ssh")
BESIDE = (
    "deploy.py", "inventory.py", "pyproject.toml", "tasks", "templates", "files", "box",
    "tests/host", "tests/__init__.py",
)  # fmt: skip
BUILD = "import sys; from hatchling import build; print(build.build_{}(sys.argv[1]))"
WHERE = """
from deeprig_cli import cli
from deeprig import tree
tree.let_import()
import deeprig, deploy, tasks.base, tests.host.here
for module in (cli, deeprig, deploy, tasks.base, tests.host.here):
    print(module.__file__)
"""


def built(kind: str, folder: Path) -> Path:
    """A wheel of the tree as it is: `wheel` or `editable`."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer makes of it; what it depends on is this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def held(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def of_the_project(*parts: str) -> set[str]:
    """Files that are in git, or will be."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *parts]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def test_this_environment_has_the_tree_and_no_copy() -> None:
    assert not tree.INSTALLED
    assert tree.ROOT == tree.CODE == ROOT
    for name in (*PACKAGES, "deploy", "tasks", "tests"):
        found = importlib.util.find_spec(name)
        assert found and found.origin and Path(found.origin).is_relative_to(ROOT), found
        assert "site-packages" not in found.origin
    put = importlib.metadata.files("deeprig") or []
    assert {path.suffix for path in put if path.suffix == ".py"} == set(), put


def test_an_editable_install_is_a_path_and_nothing_else(tmp_path: Path) -> None:
    assert held(built("editable", tmp_path)) == {"_deeprig.pth"}


def test_a_wheel_takes_three_names_and_holds_every_file(wheel: Path) -> None:
    names = held(wheel)
    assert {name.partition("/")[0] for name in names} == {*PACKAGES}
    beside = {f"deeprig/_tree/{name}" for name in of_the_project(*BESIDE)}
    assert names == of_the_project(*PACKAGES) | beside


def python(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=installed.parent, env={"PYTHONPATH": str(installed), "HOME": str(installed.parent)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_what_is_installed_runs_its_own_files(installed: Path) -> None:
    done = python(installed, "-c", WHERE)
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(installed) for line in done.stdout.split()), done.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("plan --gpu 10de:2204 --os debian-13", 0, "GeForce RTX 3090"),
        ("plan", 2, "rigs.py is not there; `deeprig init YOU@HOST` writes it"),
        ("lab list", 2, "`deeprig lab` is for those who work on deeprig"),
        ("--help", 0, "verify"),
    ],
)
def test_a_verb_of_an_installed_one(installed: Path, words: str, code: int, sentence: str) -> None:
    done = python(installed, "-m", "deeprig_cli.cli", *words.split())
    assert done.returncode == code, done.stderr
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "demo" not in done.stdout
    if code:
        assert len(done.stderr.strip().splitlines()) <= 4  # click's usage, or one line
