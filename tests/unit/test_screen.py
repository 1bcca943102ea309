"""Nothing that a box said steers the terminal of whoever asked it."""

import ast
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pyinfra import logger

from deeprig.errors import DeeprigError
from deeprig.facts import changes
from deeprig.ui import screen, summary
from deeprig.ui.summary import Line
from deeprig_cli.driver import report
from deeprig_cli.power import off
from deeprig_cli.run import report as jobs_page
from deeprig_cli.run.command import run
from deeprig_cli.verify import report as page
from deeprig_cli.verify.runner import Check
from tests.unit.test_driver_verb import judged
from tests.unit.test_untrusted import JOB, answering

CONTROLS = ("\x1b", "\x07", "\x9b", "\x9d", "\u202e", "\x00", "\r", "\x08")


WORD = "a\x1b]0;PWN\x07\x1b[2J\x9b2J\u202e\x08\r\nb"


def is_plain(text: str) -> bool:
    """Whether nothing steers a terminal but the colours that are ours."""
    bare = text
    for code in (0, 1, *range(31, 38)):
        bare = bare.replace(f"\x1b[{code}m", "")
    return not any(control in bare for control in CONTROLS)


def test_a_text_of_ours_keeps_its_colours_and_lines_and_nothing_else() -> None:
    text = click.style(f"bad: {WORD}", fg="red", bold=True) + f"\n\tgood: {WORD}"
    said = screen.coloured(text)
    assert is_plain(said)
    assert said.startswith("\x1b[31m\x1b[1mbad: a\\x1b]0;PWN\\x07\\x1b[2J")
    assert said.endswith("\n\tgood: " + screen.coloured(WORD))
    assert screen.coloured("\x1b[8mhidden\x1b[30m\x1b[7m") == "\\x1b[8mhidden\\x1b[30m\\x1b[7m"


def test_an_error_is_plain_wherever_it_is_printed() -> None:
    assert is_plain(str(DeeprigError(f"rig1: {WORD}")))
    assert str(DeeprigError("one\ntwo")) == "one\ntwo"


LOGIN_THAT_IS_RESET = """
import socket, struct, threading
import paramiko
from deeprig.ui import screen
screen.guard()
door = socket.create_server(("127.0.0.1", 0))

def reset():
    box, _ = door.accept()
    box.recv(1)
    box.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    box.close()

threading.Thread(target=reset).start()
try:
    paramiko.Transport(socket.create_connection(door.getsockname())).start_client(timeout=10)
except paramiko.SSHException:
    print("raised")
"""


def test_a_login_that_breaks_leaves_no_traceback_on_the_terminal() -> None:
    program = [sys.executable, "-c", LOGIN_THAT_IS_RESET]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("raised\n", "")


def test_what_pyinfra_and_others_log_is_plain(caplog: pytest.LogCaptureFixture) -> None:
    screen.guard()
    logger.error("failed: %s", WORD)
    assert caplog.records[-1].getMessage() == screen.coloured(f"failed: {WORD}")
    last = logging.lastResort
    assert last
    record = logging.LogRecord("somebody", logging.ERROR, "", 0, WORD, (), None)
    assert last.filter(record)
    assert is_plain(record.getMessage())


def pages() -> Iterator[str]:
    check = Check(host="rig1", component="base", check="a", outcome="failed", reason=WORD,
                  seconds=1.0, remedy=WORD)  # fmt: skip
    yield page.page([check], {"rig1": [WORD]}, every=True)
    yield summary.table([Line("rig1", 1, WORD), Line("rig2", 0, WORD)])
    texts = {key: WORD for key in ("command", "environment", "log", "said", "notebook")}
    job = {"host": "rig1", **JOB, **texts}
    yield jobs_page.table([job])
    yield jobs_page.ended(job)
    yield jobs_page.begun(job | {"state": "running"}, WORD, WORD)
    yield off.Off(host="rig1", wake="", work=(WORD,), refused=WORD).page()
    told = changes.ChangesSince(
        1,
        {},
        [changes.AptTransaction("now", WORD, WORD, WORD)],
        [changes.SudoCommand(2, WORD, WORD)],
    )
    yield "\n".join(changes.sentences(told, ["a"]))
    library = [dict.fromkeys(("name", "file", "version", "owner", "named_in"), WORD)]
    yield report.page(judged(libraries=library, state=WORD, in_use=f"reboot: {WORD}"))


@pytest.mark.parametrize("text", [*pages()])
def test_every_page_is_plain(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen.echo(text)
    assert is_plain(capsys.readouterr().out)


def test_the_line_that_is_rewritten_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    screen.rewrite(WORD * 100)
    said = capsys.readouterr().err.lstrip("\r")
    assert is_plain(said) and len(said) == screen.WIDEST


def test_the_list_of_jobs_is_plain_and_json_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, json.dumps([JOB | {"command": WORD, "said": WORD}]))
    file = tmp_path / "inventory.py"
    file.write_text("from deeprig.settings import Rig, box\nrigs = [box('rig1', rig=Rig())]\n")
    options = ["--list", "--inventory", str(file)]
    shown = CliRunner().invoke(run, options, color=True)
    assert shown.exit_code == 0 and is_plain(shown.stdout)
    raw = CliRunner().invoke(run, [*options, "--json"]).stdout
    assert is_plain(raw) and raw.isascii()
    assert json.loads(raw)[0]["command"] == WORD


def prints(tree: ast.AST) -> set[str]:
    """What of it puts something on a terminal by itself."""
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    ways = ("print", "click.echo", "click.secho", "click.prompt", "click.confirm")
    return {*(c for c in called if c in ways), *(n for n in named if n in STREAMS)}


STREAMS = ("sys.stdout", "sys.stderr.write", "sys.stderr.buffer")


def test_nothing_but_the_screen_prints() -> None:
    """A new place that prints by itself is found here."""
    root = Path(screen.__file__).parents[2]
    folders = ("deeprig", "deeprig_cli", "tasks", "fast_ssh", "tools")
    files = [f for folder in folders for f in (root / folder).rglob("*.py")]
    files += (root / "lab").glob("demo*.py")
    found = {
        str(f.relative_to(root)): prints(ast.parse(f.read_text()))
        for f in files
        if f.name != "gpu_evidence.py"  # it is sent to machines that have no screen of ours
    }
    own = {"click.echo", "click.prompt", "click.confirm"}
    assert found.pop("deeprig/ui/screen.py") == own
    # The log of --follow, which ColourOnly filters.
    assert found.pop("deeprig_cli/run/command.py") == {"sys.stdout", "sys.stderr.buffer"}
    assert {name: ways for name, ways in found.items() if ways} == {}
    assert prints(ast.parse("print(1); sys.stdout.write(2)")) == {"print", "sys.stdout"}
