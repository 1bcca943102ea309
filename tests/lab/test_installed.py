"""deeprig as a package: a wheel of a clean clone in an empty home, from init to a notebook's link.

All that is typed there is typed where the checkout cannot be seen. The same wheel, and an editable
install, also with the newest Python that this machine has.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import boxes, inventory_file
from tests.lab.conftest import ROOT
from tests.lab.sitting import Sitting

pytestmark = pytest.mark.lab

NAME = "t-installed"
UV = str(Path(sys.executable).with_name("uv"))
OLDEST = "3.11"
SECONDS = 900


def python(version: str) -> str | None:
    """A Python of this version that is not of an environment; None where there is none."""
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    here = [f"/usr/bin/python{version}", *map(str, of_pyenv), shutil.which(f"python{version}")]
    return next((name for name in here if name and Path(name).is_file()), None)


VERSIONS = [one for one in ("3.15", "3.14", "3.13", "3.12", OLDEST) if python(one)]
NEWEST = VERSIONS[0]


def uv(*words: str | Path, home: Path | None = None, folder: Path | None = None) -> str:
    """Its packages may come out of this machine's cache; an environment is made anew."""
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True).stdout
    own = {"HOME": str(home)} if home else {}
    done = subprocess.run(
        [UV, *words],
        cwd=folder, env=os.environ | own | {"UV_CACHE_DIR": cache.strip()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


class Person:
    """Who has a home with nothing in it, an empty folder, and the package."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        uv("tool", "install", "--python", python(OLDEST) or OLDEST, wheel, home=self.home)
        self.environment = {
            "HOME": str(self.home), "TERM": "dumb", "LANG": "C.UTF-8",
            "PATH": f"{self.home}/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }  # fmt: skip

    def typed(self, line: str) -> list[str]:
        """The command, where there is no checkout."""
        away = f"mount -t tmpfs none {shlex.quote(str(ROOT))}"
        own = [f"{name}={value}" for name, value in self.environment.items()]
        return ["unshare", "--mount", "env", "-i", *own, "bash", "-c", f"{away} && exec {line}"]

    def tries(self, line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.typed(line),
            cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        print(f"$ {line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def runs(self, line: str) -> str:
        done = self.tries(line)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sits_down(self, line: str) -> Sitting:
        return Sitting(self.work, *self.typed(line))


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """As an installer leaves it."""
    if NAME in [old.name for old in boxes.every()]:
        boxes.down(NAME)
    yield boxes.up(NAME, os=str(request.config.getoption("--os")), bare=True)
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("clone") / "deeprig"
    subprocess.run(["git", "clone", "-q", ROOT, there], check=True)
    return there


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    """By way of the source's archive, as `uv build` makes it."""
    uv("build", "--python", python(OLDEST) or OLDEST, folder=clone)
    assert len(list((clone / "dist").glob("*.tar.gz"))) == 1
    [found] = (clone / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Person:
    return Person(tmp_path_factory.mktemp("person"), wheel)


@pytest.fixture(scope="module")
def listed(person: Person, box: boxes.Box) -> Path:
    """rigs.py, as init wrote it, with what a company's proxy and the lab's boxes need."""
    key = person.home / "id_ed25519"
    sitting = person.sits_down(f"deeprig init ai@{box.host} --name rig1 --key {key}")
    sitting.answer("Make it now, an ed25519 key", "y")
    sitting.answer("Is it?", "y")
    sitting.answer("Password of ai", box.password)
    sitting.answer("Who computes there", "")
    sitting.answer("Frameworks", "none")
    sitting.answer("Docker", "")
    code, said = sitting.end()
    assert code == 0, said
    assert said.rstrip().endswith("deeprig plan\n  deeprig deploy"), said
    file = person.work / "rigs.py"
    certificates = sorted(map(str, inventory_file.CERTIFICATES.glob("*.crt")))
    text = file.read_text()
    for old, new in (
        ('# python=Python(frameworks=("torch",))', 'python=Python(python="system")'),
        ("rig=Rig(", f"rig=Rig(\n            ca_certificates={certificates!r},"),
    ):
        assert text.count(old) == 1, text
        text = text.replace(old, new)
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def deployed(person: Person, listed: Path) -> str:
    """What the first deploy ended with; somebody said yes to it."""
    sitting = person.sits_down("deeprig deploy")
    sitting.answer("Go on?", "y")
    code, said = sitting.end()
    assert code == 0, said
    return said


def test_it_has_the_verbs_of_every_day_and_says_who_has_the_others(person: Person) -> None:
    said = person.runs("deeprig --help")
    assert all(f"\n  {verb} " in said for verb in ("init", "plan", "deploy", "verify", "tunnel"))
    done = person.tries("deeprig demo")
    assert done.returncode == 2 and "comes with a checkout" in done.stderr


def test_nothing_but_its_program_is_in_the_home(person: Person) -> None:
    assert [path.name for path in (person.home / ".local/bin").iterdir()] == ["deeprig"]


def test_a_plan_says_what_a_deploy_would_change(person: Person, listed: Path) -> None:
    [found] = json.loads(person.runs("deeprig plan --json"))
    assert (found["host"], found["error"]) == ("rig1", None)
    assert "Base | Install the tools of every day" in found["changes"]
    [dry] = json.loads(person.runs("deeprig deploy rig1 --dry --json"))
    assert dry["changes"] == found["changes"]


def test_nobody_there_to_say_yes_is_one_line(person: Person, listed: Path) -> None:
    done = person.tries("deeprig deploy")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "--yes" in done.stderr


def test_no_leaves_the_box_alone(person: Person, listed: Path) -> None:
    before = person.runs("deeprig plan --json")
    sitting = person.sits_down("deeprig deploy")
    sitting.answer("Go on?", "n")
    code, said = sitting.end()
    assert code == 2 and "Stopped." in said, said
    assert person.runs("deeprig plan --json") == before


def test_the_deploy_ends_with_what_it_did(deployed: str) -> None:
    assert "rig1: Base | Install the tools of every day: changed" in deployed
    total = deployed.rstrip().splitlines()[-1].split()
    assert total[:2] == ["Grand", "total"] and int(total[3]) > 30 and total[4] == "-", total


def test_the_second_changes_nothing(person: Person, deployed: str) -> None:
    [found] = json.loads(person.runs("deeprig deploy --yes --json"))
    assert (found["error"], found["changes"]) == (None, [])


def test_verify_proves_it(person: Person, deployed: str) -> None:
    person.runs("deeprig verify")
    checks = json.loads(person.runs("deeprig verify --json"))
    assert sum(check["outcome"] == "passed" for check in checks) > 60


def test_a_job_runs_and_its_log_comes_back(person: Person, deployed: str) -> None:
    person.runs("deeprig run rig1 hello -- echo a job of mine")
    assert "a job of mine" in person.runs("deeprig run rig1 --follow hello")


def test_the_notebook_has_a_link(person: Person, deployed: str) -> None:
    with subprocess.Popen(
        ["env", "--default-signal=INT", *person.typed("deeprig tunnel")],
        cwd=person.work, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout
        said, until = "", "TensorBoard"
        for line in process.stdout:
            said += line
            if until in line:
                os.killpg(process.pid, signal.SIGINT)
                until = "\0"
    assert until == "\0" and "http://127.0.0.1:" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("version", dict.fromkeys((NEWEST, OLDEST)))
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_a_fresh_environment_of_each_python(
    how: str, version: str, clone: Path, wheel: Path, person: Person, deployed: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    found = python(version)
    assert found, f"no Python {version} here"
    uv("venv", "-q", "--python", found, environment)
    what = ["-e", str(clone)] if how == "editable" else [str(wheel)]
    uv("pip", "install", "-q", "--python", environment / "bin/python", *what)
    ask = "from deeprig import tree; print(tree.ROOT, tree.INSTALLED)"
    where = person.runs(f"{environment}/bin/python -c {shlex.quote(ask)}").split()
    assert where[1] == str(how == "wheel")
    assert Path(where[0]).is_relative_to(clone if how == "editable" else environment)
    # And it has what is needed to work, on the box that the other one deployed to.
    [seen] = json.loads(person.runs(f"{environment}/bin/deeprig deploy --yes --json"))
    assert (seen["error"], seen["changes"]) == (None, [])
    person.runs(f"{environment}/bin/deeprig verify --tier live")
