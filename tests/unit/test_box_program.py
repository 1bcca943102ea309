"""The program of a box, put there by the very script: whole at any moment; what runs goes on."""

import ast
import base64
import contextlib
import gzip
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deeprig_box.__main__ import COMMANDS

from deeprig.operations import box_program
from tests.unit.box_scripts import BOX

Call = Callable[..., subprocess.CompletedProcess[str]]
ELSEWHERE = (
    "deeprig_box.notebook.run",  # by the tools' own Python, which has what it imports
    "deeprig_box.notebook.server",  # whose notebook it is, it reads first of all
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path / "deeprig"


@pytest.fixture
def call(top: Path, tmp_path: Path) -> Call:
    """The script with a folder of the test's; `box` is what is to be there."""

    def run(verb: str, box: Path = BOX, **environment: str) -> subprocess.CompletedProcess[str]:
        name, content = box_program.archive(box)
        return subprocess.run(
            ["sh", "-c", box_program.PUT.replace("top=/usr/local/lib/deeprig", f"top={top}"), "sh",
             verb, name],
            input=base64.b64encode(gzip.compress(content)).decode(), capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], **environment}, check=False, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A program with less in it, which is quicker to put."""
    folder = tmp_path / "older"
    (folder / "deeprig_box/lib").mkdir(parents=True)
    (folder / "bin").mkdir()
    for name in (
        "deeprig-box", "bin/notebook-window", "bin/passthrough-bind", "bin/wake-on-lan",
        "deeprig_box/__init__.py", "deeprig_box/__main__.py", "deeprig_box/lib/__init__.py",
        "deeprig_box/lib/bounded.py", "deeprig_box/lib/errors.py",
    ):  # fmt: skip
        shutil.copy(BOX / name, folder / name)
    return folder


@pytest.fixture
def newer(older: Path, tmp_path: Path) -> Path:
    """Another version of it."""
    folder = tmp_path / "newer"
    shutil.copytree(older, folder)
    (folder / "deeprig_box/lib/new.py").write_text("NEW = True\n")
    return folder


def test_it_is_there_afterwards_and_the_next_time_nothing_is_owed(call: Call, top: Path) -> None:
    assert call("stands").stdout == ""
    done = call("put")
    assert (done.returncode, done.stderr) == (0, "")
    assert call("stands").stdout == "yes\n"
    assert (top / "current").is_symlink()
    assert list((top / "current/deeprig_box/__pycache__").glob("__main__.*.pyc"))  # compiled there
    assert call("left").stdout == ""
    assert stat.S_IMODE((top / ".lock").stat().st_mode) == 0o600  # else anybody could hold it
    was = (top / "current/bin/passthrough-bind").stat().st_mtime_ns
    assert call("put").returncode == 0
    assert (top / "current/bin/passthrough-bind").stat().st_mtime_ns == was


def test_what_has_not_changed_keeps_its_time(
    call: Call, top: Path, older: Path, newer: Path
) -> None:
    """An initramfs that is newer than the file has it."""
    call("put", older)
    os.utime(top / "current/bin/passthrough-bind", (1, 1))
    (newer / "bin/wake-on-lan").write_text("#!/bin/sh\n")
    call("put", newer)
    assert (top / "current/bin/passthrough-bind").stat().st_mtime == 1
    assert (top / "current/bin/wake-on-lan").stat().st_mtime > 1  # the control


IMPORT = """
import pkgutil, importlib, sys
sys.path.insert(0, sys.argv[1])
import deeprig_box
for module in pkgutil.walk_packages(deeprig_box.__path__, "deeprig_box."):
    if module.name not in sys.argv[2:]:
        importlib.import_module(module.name)
    print(module.name)
"""


def test_each_module_is_found_by_the_boxs_python_alone(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a module of somebody else')\n")
    done = subprocess.run(
        ["/usr/bin/python3", "-ISBc", IMPORT, BOX, *ELSEWHERE], cwd=tmp_path, text=True,
        capture_output=True, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    there = set(done.stdout.split())
    assert {f"deeprig_box.{command.module}" for command in COMMANDS.values()} <= there


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_says_what_it_takes(command: str) -> None:
    done = subprocess.run([BOX / "deeprig-box", "help", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.least])
def test_a_command_without_its_words_is_one_line(name: str) -> None:
    for words in range(COMMANDS[name].least):
        done = subprocess.run(
            [BOX / "deeprig-box", name, *["1"] * words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        [said] = done.stderr.splitlines()
        assert done.returncode == 1
        assert f"`deeprig-box help {name}`" in said


def test_an_unknown_command_is_one_line() -> None:
    done = subprocess.run([BOX / "deeprig-box", "x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "deeprig-box has no command 'x'; `deeprig-box help` names them.\n"


@pytest.mark.parametrize("place", ["tar", "python3", "find", "sync", "mv", "ln", "rm"])
def test_a_power_cut_leaves_the_one_or_the_other_whole(
    call: Call, top: Path, older: Path, newer: Path, tmp_path: Path, place: str
) -> None:
    """Each of its programs in turn is the last that runs, once before and once after its work."""
    call("put", older)
    old = (top / "current").resolve()
    real = shutil.which(place)
    for when in (f"kill -9 $PPID; exec {real}", f'{real} "$@" && kill -9 $PPID; exit 0'):
        for turn in (1, 2):
            shutil.rmtree(tmp_path / "bin", ignore_errors=True)
            (tmp_path / "bin").mkdir()
            stub = tmp_path / "bin" / place
            stub.write_text(
                f"#!/bin/sh\necho >> {tmp_path}/turns\n"
                f'[ $(wc -l < {tmp_path}/turns) = {turn} ] || exec {real} "$@"\n{when}\n'
            )
            stub.chmod(0o755)
            (tmp_path / "turns").unlink(missing_ok=True)
            call("put", newer, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
            now = (top / "current").resolve()
            assert now == old or call("stands", newer).stdout == "yes\n"
            assert now == (top / "current").resolve(strict=True)
            assert call("put", newer).returncode == 0  # the next deploy ends it
            assert call("stands", newer).stdout == "yes\n"
            call("tidy")
            assert not list(top.glob(".new.*"))
            call("put", older)
            old = (top / "current").resolve()


FULL = """
try() {
    mount -t tmpfs -o size="$1" tmpfs disk
    sh put put "$name" < archive
    echo $?
}
name=$1
for more in 100 200 300; do # KiB beside the sources, which are not all that is compiled
    try $(($2 + more))k
    [ ! -e disk/current ] || echo "left with $more"
    umount disk
done
try 8m
sh put stands "$name"
disk/current/deeprig-box bounded 9 echo it runs
"""


def test_a_full_disk_leaves_no_half_program(tmp_path: Path) -> None:
    """With a real small disk: Python 3.11 took a module for compiled that was cut off, and said so
    of every command, whatever was deployed afterwards.
    """
    name, content = box_program.archive()
    (tmp_path / "archive").write_bytes(base64.b64encode(gzip.compress(content)))
    put = box_program.PUT.replace("top=/usr/local/lib/deeprig", f"top={tmp_path}/disk")
    (tmp_path / "put").write_text(put)
    (tmp_path / "disk").mkdir()
    sources = sum(-(-file.stat().st_size // 4096) * 4 for file in box_program.files())
    said = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", name, str(sources)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare:" in said.stderr:
        pytest.skip(f"no mount namespace can be had: {said.stderr.strip()}")
    *full, ended, stands, runs = said.stdout.splitlines()
    assert full == ["1"] * 3
    assert set(said.stderr.splitlines()) == {
        f"{tmp_path}/disk has no room for the program; `df -h {tmp_path}/disk` says how full its "
        "disk is"
    }
    assert (ended, stands, runs) == ("0", "yes", "it runs")


def test_what_somebody_changed_is_mended(call: Call, top: Path, older: Path) -> None:
    call("put", older)
    script = top / "current/bin/notebook-window"
    before = script.read_text()
    for change in (
        lambda: script.write_text("# somebody was here\n"),
        lambda: script.chmod(0o777),
        lambda: (top / "current/deeprig_box/more.py").touch(),
        script.unlink,
        lambda: script.parent.chmod(0o777),
        lambda: (top / "current/deeprig_box/__pycache__").chmod(0o777),
        lambda: (top / "current/deeprig_box/more.py").symlink_to("/tmp/more.py"),
        lambda: top.chmod(0o777),
        *([lambda: os.chown(script, 1, 1)] if os.getuid() == 0 else []),
    ):
        change()
        assert call("stands", older).stdout == ""
        assert call("put", older).returncode == 0
        assert call("stands", older).stdout == "yes\n"
        assert script.read_text() == before
    (top / ".lock").unlink()
    (top / ".lock").symlink_to("somewhere")
    (top / "current").unlink()
    assert call("put", older).returncode == 0
    assert not (top / ".lock").is_symlink()
    if os.getuid() == 0:
        os.chown(top / ".lock", 1, 1)
        call("put", older)
        assert (top / ".lock").stat().st_uid == 0


def test_a_copy_in_the_place_of_the_link_gives_way(call: Call, top: Path, older: Path) -> None:
    """A backup that follows links brings one back; no deploy came any further there."""
    call("put", older)
    whole = (top / "current").resolve()
    (top / "current").unlink()
    shutil.copytree(whole, top / "current")
    assert call("stands", older).stdout == ""
    done = call("put", older)
    assert (done.returncode, done.stderr) == (0, "")
    assert (top / "current").resolve() == whole
    call("tidy", older)
    assert sorted(file.name for file in top.iterdir()) == sorted([".lock", whole.name, "current"])


def test_what_others_left_in_the_folder_is_no_word_of_a_command(
    call: Call, top: Path, older: Path, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was open to others: a name with a blank in it was two, the second in root's home."""
    call("put", older)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir()
    for name in ("x .ssh -python3", "it's-python3", "[-python3"):
        (top / name).mkdir()
    assert call("tidy", older).stderr == ""
    assert sorted(file.name for file in top.iterdir() if "python3" in file.name) == [
        (top / "current").resolve().name
    ]
    assert (tmp_path / ".ssh").is_dir()


@pytest.mark.parametrize("kind", ["folder", "file", "link", "link to a folder"])
def test_what_others_left_in_the_folder_stops_no_deploy(
    call: Call, top: Path, older: Path, tmp_path: Path, kind: str
) -> None:
    call("put", older)
    name = (top / "current").resolve().name
    shutil.copytree(top / name, tmp_path / "copy")
    call("put", older)
    shutil.rmtree(top / name)
    for place in (name, "current", ".current", ".lock"):
        if place != name:
            (top / place).unlink(missing_ok=True)
        match kind:
            case "folder":
                (top / place).mkdir(mode=0o777)
                (top / place).chmod(0o777)
            case "file":
                (top / place).touch()
                (top / place).chmod(0o666)
            case "link":
                (top / place).symlink_to("nowhere")
            case "link to a folder":
                (top / place).symlink_to(tmp_path / "copy")
    done = call("put", older)
    assert (done.returncode, done.stderr) == (0, "")
    assert call("stands", older).stdout == "yes\n"
    assert (top / "current").resolve().parent == top


def test_a_link_out_of_the_folder_is_not_followed(call: Call, top: Path, older: Path) -> None:
    """Where root would wait for ever for what somebody else has put there."""
    call("put", older)
    name = (top / "current").resolve().name
    theirs = top.parent / "theirs"
    (theirs / "bin").mkdir(parents=True)
    os.mkfifo(theirs / "bin/notebook-window")
    (top / "current").unlink()
    (top / "current").symlink_to(theirs)
    shutil.rmtree(top / name)
    assert call("put", older).returncode == 0
    (top / f"{name}.x").mkdir()
    shutil.copytree(top / name, theirs / "copy")
    (top / "current").unlink()
    (top / "current").symlink_to(f"{name}.x/../../theirs/copy")
    assert (top / "current/bin").is_dir()
    assert call("stands", older).stdout == ""


@pytest.fixture
def running(call: Call, top: Path, older: Path) -> Iterator[subprocess.Popen[str]]:
    """A command of the version that is there, which takes its time."""
    call("put", older)
    process = subprocess.Popen(
        [top / "current/deeprig-box", "bounded", "60", "sh", "-c", "echo begun >&2; exec sleep 60"],
        text=True,
    )
    time.sleep(1)
    yield process
    process.kill()
    process.wait()


def test_a_folder_goes_when_no_process_uses_it(
    call: Call, top: Path, older: Path, newer: Path, running: subprocess.Popen[str]
) -> None:
    old = (top / "current").resolve()
    assert call("put", newer).returncode == 0
    assert call("left", newer).stdout == ""
    call("tidy", newer)
    assert old.is_dir()
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert call("left", newer).stdout == f"{old}\n"
    call("tidy", newer)
    assert not old.exists()
    assert (top / "current").resolve(strict=True)


def test_what_was_changed_goes_though_what_is_right_runs_beside_it(
    call: Call, top: Path, older: Path
) -> None:
    """The name of the one in use begins with that of the other: the next deploy took it away."""
    call("put", older)
    changed = (top / "current").resolve()
    (changed / "bin/notebook-window").write_text("# somebody was here\n")
    call("put", older)
    beside = (top / "current").resolve()
    assert beside != changed and str(beside).startswith(str(changed))
    with (beside / "bin/notebook-window").open():
        assert call("left", older).stdout == f"{changed}\n"
        call("tidy", older)
    assert not changed.exists() and beside.is_dir()


def test_a_script_in_use_keeps_its_folder(call: Call, top: Path, older: Path, newer: Path) -> None:
    call("put", older)
    script = top / "current/bin/notebook-window"
    old = script.resolve()
    with subprocess.Popen(["sh", str(script), "log", "x"], stdin=subprocess.PIPE,
                          env={"HOME": str(top), "XDG_RUNTIME_DIR": "/"}) as window:  # fmt: skip
        time.sleep(0.5)
        call("put", newer)
        call("tidy", newer)
        assert old.exists()
        window.kill()
    call("tidy", newer)
    assert not old.exists()


def test_it_is_for_python_3_10() -> None:
    """Ubuntu 22.04's; what only newer ones know would fail there first."""
    files = [BOX / "deeprig-box", *(BOX / "deeprig_box").rglob("*.py")]
    for path in files:
        ast.parse(path.read_text(), feature_version=(3, 10))
    ours = sys.stdlib_module_names | {"deeprig_box", "jupyter_client", "nbclient", "nbformat"}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module and node.module.partition(".")[0] in ours, path
            if isinstance(node, ast.Import):
                assert all(name.name.partition(".")[0] in ours for name in node.names), path


def test_rooms_say_what_they_hold_and_none_is_crowded() -> None:
    for folder in (BOX / "deeprig_box", *(BOX / "deeprig_box").iterdir()):
        if folder.is_dir() and folder.name != "__pycache__":
            assert (folder / "__init__.py").read_text().startswith('"""')
            assert len([file for file in folder.glob("*.py") if file.stem != "__init__"]) <= 20


OF_ENVIRONMENTS = ("jax", "jupyter_client", "nbformat", "numpy", "tensorflow", "torch", "zmq")


def _sent() -> dict[str, set[str]]:
    """Where a text in the sources is a program for the box, and the modules that it imports."""
    found: dict[str, set[str]] = {}
    for place in ("tests/host", "tests/lab", "tasks", "deeprig", "deeprig_cli"):
        for file in sorted((ROOT / place).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                text = node.value if isinstance(node, ast.Constant) else None
                if not isinstance(text, str) or not text.startswith(("import ", "from ")):
                    continue
                with contextlib.suppress(SyntaxError):
                    for one in ast.walk(ast.parse(text)):
                        at = f"{file.relative_to(ROOT)}:{node.lineno}"
                        if isinstance(one, ast.Import):
                            found.setdefault(at, set()).update(name.name for name in one.names)
                        elif isinstance(one, ast.ImportFrom) and one.module:
                            names = {f"{one.module}.{name.name}" for name in one.names}
                            found.setdefault(at, set()).update(names)
    return found


def test_what_is_sent_to_the_box_imports_what_the_program_has() -> None:
    """A module that was renamed shows on a box alone, as a check that fails."""
    sent = _sent()
    ours = {at: names for at, names in sent.items() if any("deeprig_box" in n for n in names)}
    assert len(ours) > 5  # the control: they are found
    for at, names in sent.items():
        for name in names:
            top, _, rest = name.partition(".")
            if at.startswith("tests/lab/") and top != "deeprig_box":
                continue  # an inventory's own, right or wrong
            place = ROOT / "box" / top / Path(*rest.split("."))
            there = place.with_suffix(".py").is_file() or place.is_dir()
            # A name of a module, imported from it, is not looked for.
            there = there or place.parent.with_suffix(".py").is_file()
            known = top in {*sys.stdlib_module_names, *OF_ENVIRONMENTS} or (ROOT / top).is_dir()
            assert there if top == "deeprig_box" else known, f"{at}: {name}"
