"""A box of versions before there was a package: what calls it is moved, and the loose files go."""

import inspect
import os
import pwd
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deeprig.operations import managed_files, old_layout
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.old_layout import Left, OldLayout
from deeprig.ssh import as_user
from tasks import driver, gpu_settings, notebook, notify, reboot  # noqa: F401  # their facts
from tests.lanes import ROOT

OLD = "/usr/local/lib/deeprig"
HOOKS = {
    "guard.conf": 'DPkg::Post-Invoke { "guard={}/boot-guard; [ ! -x $guard ] || $guard look"; };',
    "wake": "exec {}/wake-on-lan arm",
    "moved": "ExecStart={}/current/deeprig-box boot-guard booted",
    "others": "ExecStart={}/of-somebody-else",
}
Ask = Callable[[], Left]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "deeprig"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "0123456789abcdef-python3.11").mkdir()
    for name in ("boot-guard", "driver_proof.py", "notebook-window", "of-somebody-else"):
        (folder / name).write_text("#!/bin/sh\nread -r line\n")
    for name, text in HOOKS.items():
        (tmp_path / name).write_text(text.replace("{}", str(folder)) + "\n")
    return folder


@pytest.fixture
def ask(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The question as a box gets it, with a folder of the test's."""
    hooks = [str(tmp_path / name) for name in (*HOOKS, "not there")]
    monkeypatch.setattr(managed_files, "PATHS", frozenset(hooks))
    script = old_layout.ASK.replace(f"top={OLD}", f"top={top}")

    def asked() -> Left:
        done = subprocess.run(
            ["sh", "-c", script, "sh", *hooks], capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return OldLayout().process(done.stdout.splitlines())

    return asked


@pytest.fixture
def started(top: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Runs one of the scripts until the test's end."""
    every: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        every.append(subprocess.Popen(["sh", str(top / name)], stdin=subprocess.PIPE))
        return every[-1]

    yield start
    for process in every:
        process.kill()
        process.wait()


def test_the_loose_files_and_who_calls_them_are_found(ask: Ask, tmp_path: Path) -> None:
    left = ask()
    assert left.files == {"boot-guard", "driver_proof.py", "notebook-window", "__pycache__"}
    assert left.hooks == {str(tmp_path / "guard.conf"), str(tmp_path / "wake")}
    assert left.used == set()
    assert set(left.goes) == left.files


def test_a_notebooks_window_keeps_its_file_and_no_other(
    ask: Ask, started: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """tmux starts it again by its path, should it be killed."""
    window = started("notebook-window")
    left = ask()
    assert left.used == {"notebook-window"}
    assert left.goes == ["__pycache__", "boot-guard", "driver_proof.py"]
    window.kill()
    window.wait()
    assert "notebook-window" in ask().goes


def test_while_another_is_at_work_all_of_them_stay(
    ask: Ask, started: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """It may call any of the others."""
    started("boot-guard")
    assert ask().goes == []


@pytest.mark.parametrize("watched", [True, False])
def test_a_watch_that_is_left_alone_keeps_what_it_knows_of_gpus_errors(
    watched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program looks for it elsewhere than the loose one did; without it no error is told."""
    for path in (OLD, "/etc/deeprig", "/etc/systemd/system"):
        (tmp_path / path.strip("/")).mkdir(parents=True)
    (tmp_path / OLD.strip("/") / "gpu_xids.json").write_text("{}\n")
    if watched:
        (tmp_path / "etc/systemd/system/deeprig-watch.service").touch()
    left = Left(files=frozenset({"gpu_xids.json", "watch"}))
    monkeypatch.setattr(old_layout, "host", SimpleNamespace(get_fact=lambda fact: left))
    for command in old_layout.leave._inner():
        text = str(command).replace("/etc/", f"{tmp_path}/etc/").replace(OLD, f"{tmp_path}{OLD}")
        if "systemctl" not in text:
            assert subprocess.run(["sh", "-c", text]).returncode == 0
    assert (tmp_path / notify.XIDS.strip("/")).exists() is watched
    assert list((tmp_path / OLD.strip("/")).iterdir()) == []


def test_a_users_systemd_reads_its_unit_anew_before_the_file_goes_that_it_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a notebook that is left alone; started again by its user it found nothing there."""
    left = Left(files=frozenset({"notebook-window"}), hooks=frozenset({notebook.UNIT_FILE}))
    monkeypatch.setattr(old_layout, "host", SimpleNamespace(get_fact=lambda fact: left))
    commands = [str(command) for command in old_layout.leave._inner()]
    moved, read, gone = (
        next((place for place, command in enumerate(commands) if words in command), None)
        for words in ("sed -i", as_user.of_each_manager("daemon-reload"), "rm -rf")
    )
    assert moved is not None and read is not None and gone is not None
    assert moved < read < gone


@pytest.mark.skipif(os.getuid() != 0, reason="only root has processes of two users")
def test_what_somebody_else_runs_by_their_names_keeps_none(ask: Ask, top: Path) -> None:
    """But for what the work user runs; who asks for a password has root's rights meanwhile."""
    nobody = pwd.getpwnam("nobody").pw_uid
    for name, used in (("boot-guard", set()), ("notebook-window", {"notebook-window"})):
        words = [str(top / name), "60"]
        process = subprocess.Popen(words, executable="/usr/bin/sleep", user=nobody)
        try:
            assert ask().used == used
        finally:
            process.kill()
            process.wait()
    assert "boot-guard" in ask().goes


def test_a_box_without_them_is_asked_and_has_none() -> None:
    assert OldLayout().process([]) == Left()
    assert Left().goes == []


def facts() -> list[type[BoxFact[Any]]]:
    """Those that ask the box's program and take no argument."""
    found = [fact for fact in BoxFact.__subclasses__() if fact.__module__.startswith("tasks.")]
    return [
        fact for fact in found if not inspect.signature(fact.command).parameters.keys() - {"self"}
    ]


def test_a_box_without_the_program_answers_what_is_asked_before_it_comes(tmp_path: Path) -> None:
    """A fact that ends in an error fails the box, and all are asked before anything is put."""
    asked = 0
    for fact in facts():
        command = fact().command()
        text = command if isinstance(command, str) else command.get_raw_value()
        if f"{OLD}/current" not in text:
            continue
        asked += 1
        for path in re.findall(r"/etc/[\w./-]+", text):
            (tmp_path / path.strip("/")).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.strip("/")).touch()
        text = text.replace("/etc/", f"{tmp_path}/etc/").replace(OLD, str(tmp_path / "gone"))
        assert subprocess.run(["sh", "-c", text]).returncode == 0, fact
    assert asked >= 3


def test_nothing_of_ours_calls_a_loose_file() -> None:
    old = re.compile(rf"{OLD}/(?!current\b)")
    found = [
        str(file.relative_to(ROOT))
        for folder in ("files", "templates", "tasks", "box", "deeprig", "deeprig_cli")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc" and old.search(file.read_text(errors="replace"))
    ]
    assert sorted(found) == [
        "box/deeprig_box/lib/workload.py",  # of a box that was not deployed to since
        "box/deeprig_box/notebook/processes.py",  # a window that was begun then
    ]


@pytest.mark.parametrize(
    "hook",
    sorted((ROOT / "files/etc/kernel").rglob("*deeprig*")),
    ids=lambda path: path.parent.name,
)
def test_a_kernels_hook_is_silent_where_the_program_is_gone(hook: Path, tmp_path: Path) -> None:
    script = hook.read_text().replace(f"{OLD}/current", str(tmp_path / "gone"))
    done = subprocess.run(["sh", "-eu", "-c", script, "sh", "6.1"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", ["deeprig-guard.conf", "deeprig-waiting.conf"])
def test_apts_hook_is_silent_where_the_program_is_gone(name: str, tmp_path: Path) -> None:
    text = (ROOT / "files/etc/apt/apt.conf.d" / name).read_text()
    [command] = re.findall(r'\{ "(.*)"; \};', text)
    there = tmp_path / "gone"
    script = command.replace(f"{OLD}/current", str(there))
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    there.mkdir()
    (there / "deeprig-box").write_text('#!/bin/sh\necho called "$@"; exit 1\n')
    (there / "deeprig-box").chmod(0o755)
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"called ")  # the control


def test_a_unit_of_ours_is_skipped_where_the_program_is_gone() -> None:
    units = [*(ROOT / "files/etc/systemd").rglob("*.service"),
             *(ROOT / "templates/etc/systemd").rglob("*.service.j2")]  # fmt: skip
    for unit in units:
        text = unit.read_text()
        if called := re.search(rf"^Exec\w+=({OLD}/current/\S+)", text, re.M):
            assert f"\nConditionFileIsExecutable={called[1]}\n" in text, unit
