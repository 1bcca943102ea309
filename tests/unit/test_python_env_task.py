"""What the Python environments' task would do, and the sentence for an install that fails."""

import argparse
import base64
import hashlib
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy

from deeprig.settings import Python
from tasks import python_env
from tests.unit import box_scripts

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deeprig/catalog/notebook/notebook.lock"


def plan(user: str | None, **settings: object) -> list[str]:
    state = State(inventory=Inventory((["@fake/rig"], {"fake_delay": 0})), config=Config())
    connect_all(state)
    python = replace(Python(python="system"), **settings)
    asked = python_env.Asked(python, user)
    add_deploy(state, python_env.begin_tools, asked=asked)
    add_deploy(state, python_env.begin, asked=asked)
    add_deploy(state, python_env.finish_tools, asked=asked)
    add_deploy(state, python_env.finish, asked=asked)
    return [name for op in state.get_op_order() for name in state.op_meta[op].names]


@pytest.fixture
def install_step() -> Iterator[ModuleType]:
    with box_scripts.loaded("python.step") as module:
        yield module


@pytest.fixture
def env_files(install_step: ModuleType) -> Iterator[ModuleType]:
    with box_scripts.loaded("python.room") as module:
        yield module


def test_the_tools_come_before_what_people_compute_in() -> None:
    names = plan("ai")
    order = [
        "Python tools, begun | Begin to make what does not stand",
        "Python environments, begun | Begin to make what does not stand",
        "Python tools | Install uv",
        "Python tools | Build the tools' environment",
        "Python environments | Make ai's environment base",
    ]
    assert [name for name in names if name in order] == order


def test_each_framework_has_an_environment_of_its_own() -> None:
    names = plan("ai", frameworks=("jax", "torch"))
    made = [name.rpartition(" ")[2] for name in names if "Make ai's environment" in name]
    assert made == ["base", "jax", "torch"]


def test_without_notebooks_there_is_only_uv() -> None:
    assert plan(None)[-1] == "Python tools | Install uv"


def test_another_python_is_another_tool_environment() -> None:
    system, fetched = (python_env.tool_folder("a==1", python) for python in ("system", "3.12"))
    assert system != fetched
    assert re.fullmatch(r"notebook-[0-9a-f]{12}", system)


@pytest.mark.parametrize("name", ["notebook.lock", "uv.lock"])
def test_every_package_of_a_lock_has_a_checksum_and_no_address(name: str) -> None:
    text = LOCK.with_name(name).read_text()
    assert "://" not in text
    for requirement in re.split(r"\n(?=\w)", re.sub(r"(?m)^#.*\n", "", text)):
        assert re.match(r"[\w.-]+==\S+", requirement)
        assert "--hash=sha256:" in requirement


UV_OFFLINE = """\
error: Failed to install cpython-3.12.16-linux-x86_64-gnu
  cause: Request failed after 3 retries in 20.5s
  cause: Failed to download `https://github.com/a/b/cpython-3.12.tar.gz`
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
"""
PIP_OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to \
establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/uv/
ERROR: No matching distribution found for uv==0.13.9
"""
PIP_PROXY = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to \
proxy.', NewConnectionError('Failed: [Errno 111] Connection refused'))': /simple/uv/
"""
UV_FULL = """\
error: Failed to install: torch-2.15.0-cp313-cp313-manylinux_2_28_x86_64.whl (torch==2.15.0)
  cause: failed to copy file: No space left on device (os error 28)
"""
UV_CONFLICT = """\
  x No solution found when resolving dependencies:
error: Because there is no version of nonsense==9 and you require it, there is no way.
"""
UV_GONE = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of numpy==99.0 and you require numpy==99.0, we can conclude \
that your requirements are unsatisfiable.
"""
UV_OTHER_CHECKSUM = """\
error: Failed to download `iniconfig==2.0.0`
  cause: Hash mismatch for `iniconfig==2.0.0`

         Expected:
           sha256:00000035bf72d31a410b17c16da610a82cb55f6b0477d1a902134b24a455b8b3
"""


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (UV_GONE, "cause: Because there is no version of numpy==99.0 and you require"),
        (UV_OTHER_CHECKSUM, "iniconfig==2.0.0 has another checksum than its lock says"),
        (UV_OFFLINE, "cannot reach github.com: its name cannot be resolved; check the network"),
        (PIP_OFFLINE, "cannot reach the package index: its name cannot be resolved; check"),
        (PIP_PROXY, "cannot reach the package index: it refuses the connection; check"),
        (UV_FULL, "the disk is full; make room, then run it again"),
        (UV_CONFLICT, "error: Because there is no version of nonsense==9"),
        ("", "it failed without a word"),
    ],
)
def test_a_failed_install_is_one_sentence(
    install_step: ModuleType, output: str, sentence: str
) -> None:
    said = install_step.explain(output)
    assert said.startswith(sentence)
    assert "\n" not in said


def installed(site: Path, name: str, content: bytes, said: bytes) -> None:
    """A package of one file, whose own list has the hash of `said`."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(said).digest()).decode().rstrip("=")
    (site / f"{name}.py").write_bytes(content)
    (site / f"{name}-1.0.dist-info").mkdir()
    rows = f"{name}.py,sha256={digest},{len(said)}\n{name}-1.0.dist-info/RECORD,,\n"
    (site / f"{name}-1.0.dist-info/RECORD").write_text(rows)


def test_what_is_not_as_its_package_says_is_taken_out_of_uvs_cache(
    env_files: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = tmp_path / "archive-v0"
    for name in ("whole", "zeros", "gone", "unlisted", "nothing"):
        (archives / name).mkdir(parents=True)
        if name != "nothing":
            content = b"\0\0\0\0\0" if name == "zeros" else b"x = 1"
            installed(archives / name, name, content, b"x = 1")
    (archives / "gone/gone.py").unlink()
    (archives / "unlisted/unlisted-1.0.dist-info/RECORD").write_text("")
    env_files.forget_damaged(tmp_path)
    assert [left.name for left in archives.iterdir()] == ["whole"]
    assert capsys.readouterr().out == "Forget what is damaged: gone, nothing, unlisted, zeros\n"


def test_an_environment_is_refused_where_it_does_not_fit(
    env_files: ModuleType, tmp_path: Path
) -> None:
    folder, cache = tmp_path / "envs/torch", tmp_path / "cache"
    cache.mkdir()
    env_files.refuse_without_room(folder, cache, 0.001, begun=False)  # the control: there is room
    with pytest.raises(Exception, match=r"torch needs 1000000\.0 GB on the disk of .* are free"):
        env_files.refuse_without_room(folder, cache, 1e6, begun=False)
    with (cache / "wheel").open("wb") as file:
        file.truncate(500_000_000)  # a hole: it takes no room here
    with pytest.raises(Exception, match=r"needs 999999\.5 GB"):  # the rest is there already
        env_files.refuse_without_room(folder, cache, 1e6, begun=True)


HOLD = """
import sys
from pathlib import Path
from deeprig_box.python import step as install_step
install_step.PROGRESS_SECONDS = 0.1
with install_step.alone(Path(sys.argv[1])):
    """


def held(folder: Path, inside: str) -> list[str]:
    return [sys.executable, "-B", "-c", HOLD + inside, str(folder)]


def test_uvs_lock_files_are_their_owners(env_files: ModuleType, tmp_path: Path) -> None:
    """uv makes them for everybody to write; a link is not followed."""
    (tmp_path / "cache/wheels-v8/pypi").mkdir(parents=True)
    (tmp_path / "cache/archive-v0/x").mkdir(parents=True)
    names = ("cache/.lock", "cache/wheels-v8/pypi/numpy.lock", "cache/archive-v0/x/y.lock", "other")
    for name in names:
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666)
    (tmp_path / "cache/a.lock").symlink_to(tmp_path / "other")
    env_files.close_locks(tmp_path / "cache")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in names]
    assert modes == [0o644, 0o644, 0o666, 0o666]


def test_one_run_at_a_time_makes_an_environment(tmp_path: Path) -> None:
    envs = tmp_path / "envs"
    first = subprocess.Popen(
        held(envs, "print('in', flush=True); sys.stdin.read()"), cwd=box_scripts.BOX,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stdout and first.stdout.readline() == "in\n"
    argv = held(envs, "print('mine')")
    second = subprocess.Popen(argv, cwd=box_scripts.BOX, stdout=subprocess.PIPE, text=True)
    assert second.stdout and ": at work already, 0 s so far\n" in second.stdout.readline()
    first.communicate()
    assert second.communicate(timeout=10)[0].endswith("mine\n")


def test_who_waits_is_told_how_far_the_other_is(tmp_path: Path) -> None:
    """Most installs of a first run are begun in the background, and waited for."""
    log = f"install_step.log_file = lambda: Path({str(tmp_path / 'log')!r}); "
    slow = "install_step.run('Install torch', ['sh', '-c', 'echo fetched; sleep 3'], Path('/'))"
    first = subprocess.Popen(
        held(tmp_path / "envs", log + slow), cwd=box_scripts.BOX, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout and first.stdout.readline() == "Install torch ...\n"
    assert first.stdout.readline() == "Install torch: 0 s so far\n"
    waiting = held(tmp_path / "envs", "print('mine')").copy()
    waiting[3] = waiting[3].replace("with install_step", f"{log}\nwith install_step")
    second = subprocess.run(
        waiting, cwd=box_scripts.BOX, capture_output=True, text=True, check=True
    )
    first.communicate()
    said = second.stdout.splitlines()
    assert re.fullmatch(r"Install torch: \d s so far", said[0])  # a slow machine is slow to ask
    assert {"Install torch: 1 s so far", "Install torch: 2 s so far"} <= set(said)
    assert said[-1] == "mine"
    # What pip and uv say has addresses in it, and a login may be in one of these.
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_an_environment_stands_while_the_python_it_was_made_for_is_there(
    tmp_path: Path, install_step: ModuleType
) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/lib/python3.13/site-packages/ipykernel").mkdir(parents=True)
    for name in ("python3.13", "python3.14"):
        (tmp_path / name).touch(mode=0o755)
    python, system = tmp_path / "env/bin/python", tmp_path / "python3"
    python.symlink_to(system)
    found = []
    for target in ("python3.13", "python3.14", "gone"):
        system.unlink(missing_ok=True)
        system.symlink_to(tmp_path / target)
        found.append(install_step.has(tmp_path / "env", "ipykernel"))
    system.unlink()
    system.symlink_to(tmp_path / "python3.13")
    found.append(install_step.has(tmp_path / "env", "ipykernel", "tornado"))
    assert found == [True, False, False, False]


class PowerCut(BaseException):
    """Nothing catches it."""


def test_no_power_cut_makes_an_unfinished_environment_pass_for_somebodys_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails at each change of the disk in turn, while what was begun is begun anew."""
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = argparse.Namespace(
        name="base", python="system", packages=[], torch_backend=None, torch_index=None,
        gigabytes=0, cache=None, own=None, locks=None,
    )  # fmt: skip
    left = math.inf

    def failing(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCut
            return change(*args, **options)

        return changed

    with box_scripts.loaded("python.env") as script:
        monkeypatch.setattr(script, "run", lambda *_: None)
        monkeypatch.setattr(
            importlib.import_module("deeprig_box.python.room"), "forget_damaged", lambda _: None
        )
        for name in ("unlink", "rmdir", "mkdir", "rename"):
            monkeypatch.setattr(os, name, failing(getattr(os, name)))
        wanted = script.Environment(asked)
        found = []
        for changes in range(20):
            left = math.inf
            shutil.rmtree(tmp_path, ignore_errors=True)
            (wanted.folder / "bin").mkdir(parents=True)
            (wanted.folder / ".deeprig").write_text("building\n")
            for number in range(3):
                (wanted.folder / f"bin/{number}").touch()
            left = changes
            with suppress(PowerCut):
                wanted._begin("unfinished")
            found.append(wanted.state())
    assert set(found) == {"unfinished", "absent"}
    assert left > 0  # the last ones came to their end


HASH = f"sha256:{'a' * 64}"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an environment in a home of its own; its uv writes down what it is asked for, and
    resolves everything to the version that `index` says.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    asked: list[list[str]] = []

    def run(what: str, argv: list[str | Path], cache: Path | None = None) -> None:
        words = [str(word) for word in argv]
        asked.append(words[1:])
        if words[1:3] == ["venv", "--no-project"]:
            (Path(words[-1]) / "bin").mkdir()
            (Path(words[-1]) / "bin/python").symlink_to("/usr/bin/python3.99")
        if words[1:3] == ["pip", "compile"]:
            out = Path(words[words.index("--output-file") + 1])
            names = Path(words[words.index("--output-file") + 2]).read_text().split()
            names += [line.split("=")[0] for word in words for line in
                      (Path(word).read_text().splitlines() if "own-" in word else [])
                      if line[:1].isalpha()]  # fmt: skip
            out.write_text("".join(f"{n}=={made.index} \\\n    --hash={HASH}\n" for n in names))

    with box_scripts.loaded("python.env") as module:
        monkeypatch.setattr(module, "run", run)
        monkeypatch.setattr(
            importlib.import_module("deeprig_box.python.room"), "forget_damaged", lambda _: None
        )

        def made(*packages: str, update: bool = False, **options: Any) -> list[list[str]]:
            asked.clear()
            usual = {
                "torch_backend": None, "torch_index": None, "gigabytes": 0, "cache": None,
                "own": None, "locks": tmp_path / "data/ai/locks",
            }  # fmt: skip
            wanted = module.Environment(
                argparse.Namespace(
                    name="base", python="system", packages=packages, **usual | options
                )
            )
            monkeypatch.setattr(module, "has", lambda *_: True)
            wanted.make(update)
            return list(asked)

        made.index = 1  # type: ignore[attr-defined]
        (tmp_path / "data/ai").mkdir(parents=True)
        yield made


def verbs(asked: list[list[str]]) -> list[str]:
    return [" ".join(words[:2]) for words in asked]


def test_what_is_installed_is_a_lock_with_checksums(environment: Any, tmp_path: Path) -> None:
    asked = environment("numpy")
    assert verbs(asked) == ["venv --no-project", "pip compile", "pip install"]
    lock = tmp_path / "home/envs/base.lock"
    assert asked[-1][-3:] == ["--require-hashes", "--requirements", str(lock)]
    head, *rest = lock.read_text().splitlines()
    assert head == f"# Made by deeprig for: numpy python3.99 {os.uname().machine}"
    assert [line.split()[0] for line in rest[::2]] == ["pip==1", "ipykernel==1", "numpy==1"]
    kept = tmp_path / f"data/ai/locks/base-python3.99-{os.uname().machine}.lock"
    assert kept.read_text() == lock.read_text()


def test_a_reinstall_brings_the_same_versions(environment: Any, tmp_path: Path) -> None:
    environment("numpy")
    environment.index = 2
    shutil.rmtree(tmp_path / "home")
    asked = environment("numpy")
    assert verbs(asked) == ["venv --no-project", "pip install"]
    assert "numpy==1 " in (tmp_path / "home/envs/base.lock").read_text()
    environment("numpy", update=True)  # the control: that is what asks for newer ones
    for lock in (*tmp_path.glob("home/envs/*.lock"), *tmp_path.glob("data/ai/locks/*")):
        assert "numpy==2 " in lock.read_text()


@pytest.mark.parametrize(
    "options",
    [{"torch_backend": "cu126"}, {"torch_index": "https://pypi.lan/a"}, {"packages": ("scipy",)}],
)
def test_another_wish_is_another_lock(
    environment: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    environment("numpy")
    shutil.rmtree(tmp_path / "home")
    assert "pip compile" in verbs(environment(*options.pop("packages", ("numpy",)), **options))


def test_where_there_is_no_data_folder_the_lock_is_beside_it(
    environment: Any, tmp_path: Path
) -> None:
    environment("numpy", locks=tmp_path / "none/ai/locks")
    assert not (tmp_path / "none").exists()
    assert (tmp_path / "home/envs/base.lock").exists()


def test_somebodys_own_checksums_stand(environment: Any, tmp_path: Path) -> None:
    own = tmp_path / "own-0123.lock"
    theirs = f"sha256:{'b' * 64}"
    own.write_text(f"SciPy==1 \\\n    --hash={theirs}\n")
    asked = environment(own=own)
    assert str(own) in asked[1]
    lock = (tmp_path / "home/envs/base.lock").read_text()
    assert f"SciPy==1 \\\n    --hash={theirs}\n" in lock
    assert lock.count(HASH) == 2  # pip and ipykernel
    assert "Python.lock:own-0123" in (tmp_path / "home/envs/base/.deeprig").read_text()


def test_no_login_is_in_a_lock(tmp_path: Path) -> None:
    with box_scripts.loaded("python.lock") as env_lock:
        lock = env_lock.Lock(tmp_path / "a.lock", None, "x")
        lock.keep("--index-url https://me:pw@pypi.lan/simple\nnumpy==1\n")
        assert "https://pypi.lan/simple" in (tmp_path / "a.lock").read_text()
        assert "pw" not in (tmp_path / "a.lock").read_text()
        assert lock.find() == tmp_path / "a.lock"
        assert env_lock.Lock(tmp_path / "a.lock", None, "y").find() is None


def test_the_users_own_requirements_come_before_what_needs_them(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy==2.4.1  # ours\nscipy\n")
    names = plan("ai", lock=str(file))
    write = "Python environments, begun | Write the requirements of your own"
    begin = "Python environments, begun | Begin to make what does not stand"
    assert names.index(write) < names.index(begin)
    asked = python_env.Asked(Python(lock=str(file)), "ai")
    assert asked.own_lock == "numpy==2.4.1\nscipy\n"
    assert asked.environments()["base"] == ["--own", asked.own_file, "base", "3.12"]
    file.write_text("numpy==2.4.2\n")
    assert python_env.Asked(Python(lock=str(file)), "ai").own_file != asked.own_file
