"""The fast connector says what the plain one says, and nothing that is no longer so.

The box is this machine behind an SSH server of the test's own, sudo a stand-in.
"""

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand, PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.deploy import add_deploy, deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import FactBase
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import operation
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage
from pyinfra.api.util import sha1_hash
from pyinfra.context import host
from pyinfra.facts.files import Directory, File, FindFiles, Sha256File
from pyinfra.facts.server import Command, Groups, KernelVersion, Mounts, Users, Which
from pyinfra.operations import files, server

from deeprig.operations import core
from deeprig.runner import link_watch
from fast_ssh.commands import Aside
from tests.unit import ssh_server
from tests.unit.local_shell import PASSWORD, environment
from tests.unit.ssh_server import Server


class Line(FactBase[str]):
    """The first line of a file; empty where there is none."""

    default = str

    def command(self, path: str) -> StringCommand:
        return StringCommand("head -n 1", QuoteString(path), "2>/dev/null || true")

    def process(self, output: list[str]) -> str:
        return output[0]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with ssh_server.serve(environment(tmp_path)) as running:
        yield running


Run = Callable[..., State]


@pytest.fixture
def run(box: Server, tmp_path: Path) -> Run:
    """Run a function as a deploy; `how` is the connector."""

    def run(build: Callable[[], None], how: str = "@fast/", **data: Any) -> State:
        target = (f"{how}box", ssh_server.data(box, tmp_path) | data)
        state = State(Inventory(([target], {})), Config(SUDO=True))
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        try:
            add_deploy(state, deploy("Test")(build))
            state.set_stage(StateStage.Execute)
            run_ops(state)
        finally:
            disconnect_all(state)
        return state

    return run


def asking(*paths: str) -> Callable[[], None]:
    """A deploy that asks for the first line of some files."""

    def build() -> None:
        for path in paths:
            host.get_fact(Line, path=path)

    return build


def ask_everything(folder: Path, found: list[Any]) -> None:
    asked: list[tuple[type[FactBase[Any]], dict[str, Any]]] = [
        (KernelVersion, {}),
        (Users, {}),
        (Groups, {}),
        (Mounts, {}),
        (Which, {"command": "sh"}),
        (Which, {"command": "no-such-thing"}),
        (File, {"path": "/etc/passwd"}),
        (File, {"path": "/etc/no-such-thing"}),
        (Directory, {"path": "/etc"}),
        (Sha256File, {"path": "/etc/passwd"}),
        (FindFiles, {"path": str(folder)}),
        (Line, {"path": "/etc/passwd"}),
        (Command, {"command": "echo one; echo; echo ' three '; echo é"}),
        (Command, {"command": "printf 'no end\\r'"}),
        (Command, {"command": "echo $A $AS_ROOT; pwd", "_env": {"A": "a b'c"}, "_chdir": "/tmp"}),
        (Command, {"command": "echo $AS_ROOT", "_sudo": False}),
        (Command, {"command": "echo $0", "_shell_executable": "bash"}),
        (Command, {"command": "cat", "_stdin": ["a", "b\n", ""]}),
        (Command, {"command": "echo out; echo err >&2; exit 3", "_ignore_errors": True}),
        (Command, {"command": "sleep 0; echo in time", "_timeout": 20}),
        # Each in a shell of its own: what is the kept one's is nothing to it, and it ends alone.
        (Command, {"command": 'echo "$#$1$l$r$fast_d$0"; command -v e; true'}),
        (Command, {"command": "[ $$ = $PPID ] || ps -o args= -p $$ | cut -c1-6"}),
        (Command, {"command": "echo until here; if", "_ignore_errors": True}),
        (Command, {"command": "cd /; umask 0; left=over; trap 'echo bye' EXIT; exec echo 'a\"b'"}),
        (
            Command,
            {"command": "echo it\\'s '\"' $left; pwd; umask; exit 4", "_ignore_errors": True},
        ),
    ]
    found.extend(host.get_fact(fact, **arguments) for fact, arguments in asked)


def test_every_fact_is_the_same_both_ways_and_asked_at_once(
    run: Run, box: Server, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    said: dict[str, list[Any]] = {"plain": [], "first": [], "second": []}
    used = {}
    for name, how in (("plain", ""), ("first", "@fast/"), ("second", "@fast/")):
        box.commands.clear()
        run(lambda name=name: ask_everything(tmp_path / "folder", said[name]), how)  # type: ignore[misc]
        used[name] = len(box.commands)
    assert said["first"] == said["plain"]
    assert said["second"] == said["plain"]
    assert (used["first"], used["second"]) == (1, 1)
    assert used["plain"] >= len(said["plain"]) > 15


def change_something(folder: Path, said: list[Any]) -> None:
    @operation(is_idempotent=False)
    def see(number: int) -> Iterator[PyinfraCommand]:
        if host.state.is_executing:
            said.append((number, host.get_fact(Line, path=f"{folder}/a")))
        yield StringCommand("true")

    see(number=1)
    server.shell(name="one", commands=[f"echo one > {folder}/a"])
    see(number=2)
    line = files.line(name="two", path=f"{folder}/a", line="two", replace="two")
    files.file(name="file", path=f"{folder}/b", mode="640")
    server.shell(name="if", commands=[f"sed -i s/one/three/ {folder}/a"], _if=line.did_change)
    see(number=3)
    files.directory(name="dir", path=f"{folder}/d", mode="700")
    files.link(name="link", path=f"{folder}/l", target=f"{folder}/b")


def tree(folder: Path) -> list[tuple[Any, ...]]:
    return sorted(
        (p.name, oct(p.lstat().st_mode), p.read_bytes() if p.is_file() else b"")
        for p in folder.rglob("*")
    )


@pytest.mark.parametrize("drift", ["none", "all", "some"])
def test_a_deploy_comes_to_the_same_both_ways(run: Run, tmp_path: Path, drift: str) -> None:
    came: dict[str, Any] = {}
    for how in ("", "@fast/"):
        folder, said = tmp_path / "box", list[Any]()
        if how or drift != "all":
            folder.mkdir()
        folder.mkdir(exist_ok=True)
        if drift != "all":
            run(lambda: change_something(folder, []), how)  # noqa: B023
        if drift == "some":
            (folder / "b").chmod(0o600)
            (folder / "d").rmdir()
        said.clear()
        state = run(lambda: change_something(folder, said), how)  # noqa: B023
        [results] = state.results.values()
        changed = [op.operation_meta.did_change() for op in _operations(state)]
        came[how] = (said, changed, results.error_ops, tree(folder))
        folder.rename(tmp_path / f"was{how.strip('@/')}")
    assert came["@fast/"] == came[""]
    assert len(came[""][3]) == 4


def test_an_upload_goes_through_the_shell_byte_for_byte(
    run: Run, box: Server, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 700 + b"no end of line"
    dest = str(tmp_path / "uploaded")
    for _ in range(2):
        state = run(lambda: files.put(name="put", src=BytesIO(content), dest=dest) and None)
    assert (tmp_path / "uploaded").read_bytes() == content
    [results] = state.results.values()
    assert (results.success_ops, [o.operation_meta.did_change() for o in _operations(state)]) == (
        1,
        [False],
    )
    assert len(box.commands) == 2
    assert list(Path("/tmp").glob(f"pyinfra-{sha1_hash(dest)}")) == []


def _operations(state: State) -> list[Any]:
    return [operation for ops in state.ops.values() for operation in ops.values()]


def test_what_changed_in_the_run_is_seen_by_what_comes_after(run: Run, tmp_path: Path) -> None:
    said: list[Any] = []
    for text in ("first", "second", "third"):
        (tmp_path / "a").write_text("before\n")

        @operation(is_idempotent=False)
        def see() -> Iterator[PyinfraCommand]:
            said.append(host.get_fact(Line, path=f"{tmp_path}/a"))
            yield StringCommand("true")

        def build(text: str = text, see: Any = see) -> None:
            see()
            server.shell(name="x", commands=[f"echo {text} > {tmp_path}/a"])
            see()

        run(build)
    assert said[2::4] == ["before"] * 3  # executing: the first look
    assert said[3::4] == ["first", "second", "third"]


def test_a_python_callback_asks_live_and_nothing_older_than_it_is_used(
    run: Run, box: Server, tmp_path: Path
) -> None:
    """It changes the box by another way than the connector, and polls until that is so."""
    polled: list[str] = []
    seen: list[str] = []

    def build() -> None:
        (tmp_path / "a").write_text("before\n")

        def callback(state: State, host: Any) -> bool:
            threading.Timer(0.5, lambda: (tmp_path / "a").write_text("after\n")).start()
            while not polled or polled[-1] != "after":
                polled.append(host.get_fact(Line, path=f"{tmp_path}/a", _sudo=True))
                if len(polled) > 100:
                    return False  # it is told what was so, again and again
                time.sleep(0.1)
            return True

        @operation(is_idempotent=False)
        def wait() -> Iterator[PyinfraCommand]:
            host.get_fact(Line, path=f"{tmp_path}/a")
            yield FunctionCommand(callback, (), {})

        @operation(is_idempotent=False)
        def see() -> Iterator[PyinfraCommand]:
            if host.state.is_executing:
                seen.append(host.get_fact(Line, path=f"{tmp_path}/a"))
            yield StringCommand("true")

        wait()
        see()

    for _ in range(2):
        polled.clear()
        box.commands.clear()
        run(build, fast_answer_seconds=1000.0)
        assert polled[0] == "before" and polled[-1] == "after"
    assert seen == ["after", "after"]
    assert len(box.commands) == 1


@pytest.mark.parametrize(("seconds", "said"), [(60.0, "before"), (0.2, "after")])
def test_what_somebody_else_changes_is_seen_once_an_answer_is_too_old(
    run: Run, tmp_path: Path, seconds: float, said: str
) -> None:
    """The bound: an answer serves for so many seconds, and not longer."""
    (tmp_path / "a").write_text("before\n")
    seen: list[str] = []

    def build() -> None:
        host.get_fact(KernelVersion)
        if seen:  # the second run: the batch is asked and answered by now, with Line in it
            time.sleep(0.5)
            (tmp_path / "a").write_text("after\n")
            time.sleep(0.5)
        seen.append(host.get_fact(Line, path=f"{tmp_path}/a"))

    run(build)
    run(build, fast_answer_seconds=seconds)
    assert seen == ["before", said]


def test_a_link_that_breaks_in_a_question_fails_the_host_and_no_more(
    run: Run, box: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> None:
        link_watch.watch(host.state)
        host.get_fact(KernelVersion)
        threading.Timer(0.5, box.cut).start()
        host.get_fact(Command, command="sleep 20; echo late")

    started = time.monotonic()
    with pytest.raises(PyinfraError):
        run(build)
    assert time.monotonic() - started < 15
    said = link_watch.sentence("box")
    assert [record.getMessage() for record in caplog.records].count(said) == 1
    caplog.clear()
    run(asking("/etc/passwd"))  # the control: the next run is as ever
    assert said not in caplog.text


def test_a_link_that_breaks_in_a_change_fails_that_operation(run: Run, box: Server) -> None:
    def build() -> None:
        def start() -> None:
            while not any("sleep 20" in line for line in _running()):
                time.sleep(0.1)
            box.cut()

        if not host.state.is_executing:
            threading.Thread(target=start, daemon=True).start()
        server.shell(name="long", commands=["sleep 20; true # cut"])

    with pytest.raises(PyinfraError):
        run(build)


def _running() -> list[str]:
    return [
        p.read_bytes().decode(errors="replace").replace("\0", " ")
        for p in Path("/proc").glob("[0-9]*/cmdline")
    ]


def test_after_a_new_login_there_is_a_new_shell(run: Run, box: Server, tmp_path: Path) -> None:
    said: list[Any] = []

    def build() -> None:
        said.append(host.get_fact(Line, path="/etc/passwd"))
        host.disconnect()
        box.cut()
        host.connect()
        said.append(host.get_fact(Line, path="/etc/passwd"))

    run(build)
    assert said[0] == said[1] != ""
    assert len(box.commands) == 2


def test_a_question_whose_shell_was_lost_is_asked_again(run: Run, tmp_path: Path) -> None:
    said: list[Any] = []
    once = (
        f"[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; kill -9 $PPID; sleep 9; }}; echo on"
    )
    run(lambda: said.append(host.get_fact(Command, command=once)))
    assert said == ["on"]


def test_where_no_shell_can_be_kept_it_goes_on_over_plain_ssh(
    run: Run, box: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[Any] = []
    box.env |= {"PATH": f"{tmp_path}:{_without_gzip(tmp_path)}"}
    with caplog.at_level("WARNING", logger="pyinfra"):
        run(lambda: said.append(host.get_fact(Line, path="/etc/passwd")))
    assert said == [Path("/etc/passwd").read_text().splitlines()[0]]
    assert "(base64 or gzip is not there); going on over plain SSH" in caplog.text


def _without_gzip(folder: Path) -> Path:
    tools = folder / "tools"
    tools.mkdir()
    for name in ("sh", "head", "base64", "cat", "env", "id"):
        found = next(p / name for p in map(Path, ("/bin", "/usr/bin")) if (p / name).exists())
        (tools / name).symlink_to(found)
    return tools


def test_the_record_holds_no_secret_and_is_its_owners_alone(run: Run, tmp_path: Path) -> None:
    def build() -> None:
        host.get_fact(Command, command="echo plain")
        host.get_fact(Command, command="echo $A", _env={"A": HiddenValue("hush")})

    run(build)
    [record] = (tmp_path / "questions").iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert "echo plain" in record.read_text()
    assert "hush" not in record.read_text()
    assert "one answer" not in record.read_text()


def test_what_is_said_aside_leaves_answers_standing_and_is_not_asked_by_the_next_run(
    run: Run, tmp_path: Path
) -> None:
    said: list[tuple[str, str]] = []

    def build(kind: type[StringCommand]) -> None:
        (tmp_path / "a").write_text("before\n")
        host.get_fact(Line, path=f"{tmp_path}/a")
        done, output = host.run_shell_command(kind("echo aside; echo after >", f"{tmp_path}/a"))
        assert done
        said.append((output.stdout, host.get_fact(Line, path=f"{tmp_path}/a")))

    run(lambda: build(Aside))
    run(lambda: build(StringCommand))  # the control: what may change anything
    assert said == [("aside", "before"), ("aside", "after")]
    [record] = (tmp_path / "questions").iterdir()
    assert "echo aside" not in record.read_text()


def test_what_the_last_run_asked_is_asked_before_anybody_wants_it(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(lambda: host.get_fact(Command, command=f"echo asked | tee -a {log}"))
    log.unlink()

    def build() -> None:
        for _ in range(100):
            if log.exists():
                return
            time.sleep(0.05)

    run(build)
    assert log.read_text() == "asked\n"


def test_what_sudo_was_asked_without_its_password_is_asked_again(
    run: Run, box: Server, tmp_path: Path
) -> None:
    said: list[Any] = []
    sudo_log = tmp_path / "sudo.log"
    given: list[dict[str, str]] = [{}, {"_sudo_password": PASSWORD}, {"_sudo_password": PASSWORD}]
    for how in given:
        box.env["SUDO_MODE"] = "password" if how else "free"
        run(lambda how=how: said.append(host.get_fact(Command, command="echo $AS_ROOT", **how)))  # type: ignore[misc]
    assert said == ["yes"] * 3
    end = time.monotonic() + 5
    while (without := sudo_log.read_text().count("-n -H")) < 2 and time.monotonic() < end:
        time.sleep(0.05)  # the second run's, in a shell that nobody waited for
    assert without == 2  # the third run knew it from the second


def test_why_an_installation_failed_is_for_root_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "last-words"
    monkeypatch.setattr(core, "STDERR_FILE", str(words))
    words.write_text("older\n")  # as an earlier version left it
    words.chmod(0o644)

    @operation()
    def install() -> Iterator[PyinfraCommand]:
        yield core.StreamedCommand("echo come; echo https://index/TOKEN/ fails >&2; false")

    with pytest.raises(PyinfraError):
        run(lambda: install())  # type: ignore[no-untyped-call]
    assert words.read_text() == "https://index/TOKEN/ fails\n"
    assert words.stat().st_mode & 0o777 == 0o600


def test_what_other_programs_asked_is_not_asked_again(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    old = f"echo asked >> {log}"  # mended since, for one
    run(lambda: host.get_fact(Command, command=old), fast_asker="1")
    asked = []
    for version in ("1", "2", "2"):
        log.unlink(missing_ok=True)
        run(asking("/etc/passwd"), fast_asker=version)
        asked.append(log.exists())
    assert asked == [True, False, False]


@pytest.mark.parametrize("wrong", ["mode", "json"])
def test_a_record_that_others_may_have_written_is_not_asked(
    run: Run, box: Server, tmp_path: Path, wrong: str
) -> None:
    run(asking("/etc/passwd"))
    [record] = (tmp_path / "questions").iterdir()
    found = json.loads(record.read_text())
    found["questions"].append(["r", f"sh -c 'touch {tmp_path}/planted'", 0, 0.0])
    record.write_text(json.dumps(found) if wrong == "mode" else "[[")
    record.chmod(0o644 if wrong == "mode" else 0o600)
    run(asking("/etc/passwd"))
    assert not (tmp_path / "planted").exists()
    assert "planted" not in record.read_text()


def test_a_question_that_nobody_asks_is_forgotten_after_three_runs(
    run: Run, tmp_path: Path
) -> None:
    run(asking("/etc/passwd", "/etc/hosts"))
    [record] = (tmp_path / "questions").iterdir()
    kept = []
    for _ in range(3):
        run(asking("/etc/passwd"))
        kept.append("/etc/hosts" in record.read_text())
    assert kept == [True, True, False]
