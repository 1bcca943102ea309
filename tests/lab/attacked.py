"""What the tests of the lane `trust` look at after an attack."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from lab import boxes
from tests.lab.attackers import LONG, MARKER, Account, Accounts
from tests.lab.conftest import DEEPRIG, ROOT, variant
from tests.lab.measured import Said

OPEN_SECONDS = 300
VICTIM, SECRET = "/etc/trust-victim", "canary-of-root"
OWN_ANSWER = re.compile(r"/run/deeprig-as\.\w+/(out|err) of ")


class First(NamedTuple):
    """The first deploy, and what the witness saw of it."""

    done: Said
    seen: dict[str, Any]
    marked: str


def verified(done: Said) -> dict[str, str]:
    """Each check with its outcome; pytest shows the reasons where the test fails."""
    assert "Traceback" not in done.all
    checks = json.loads(done.out)
    print(*(c for c in checks if c["outcome"] not in ("passed", "skipped")), sep="\n")
    return {f"{c['component']}: {c['check']}": c["outcome"] for c in checks}


def marked(accounts: Accounts) -> str:
    """What root wrote for an attacker; empty where nothing was."""
    return accounts["root"].run(f"cat {MARKER} 2>/dev/null", check=False)


def one_sentence(done: Said, *codes: int) -> str:
    """What a verb said that could not do its work: one line, and no traceback."""
    assert "Traceback" not in done.all
    assert done.code in codes, done.all
    said = [line for line in done.err.splitlines() if not line.startswith(("==> ", "    "))]
    assert len(said) == 1, done.all
    return said[0]


def plain(said: str) -> None:
    """No control character of a box is in it."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), repr(said)


@contextmanager
def witness(root: Account) -> Iterator[dict[str, Any]]:
    """What the work user's processes hold meanwhile; it is there at the end."""
    watch = root.start("watches", LONG, "ai")
    seen: dict[str, Any] = {}
    yield seen
    seen |= watch.end()


def nothing_heard(seen: dict[str, Any], program: str) -> None:
    """Nothing that the work user ran, `program` among it, held what root's answers travel on: no
    channel of a login, and no file of root's but the one for its own answer.
    """
    assert seen["looks"] > 20 and seen["login"]
    assert [words for words in seen["programs"] if program in words], seen["programs"]
    shared = [held for held in seen["account"] if held.partition(" of ")[0] in seen["login"]]
    assert shared == [], shared
    files = [file for file in seen["files"] if not OWN_ANSWER.match(file)]
    assert files == [], files


def changes(done: Said) -> int:
    """How many operations changed something, by pyinfra's own count; pytest shows the run where
    the test fails.
    """
    print(done.all)
    [words] = re.findall(r"Grand total +(\d+) +\S+ +\S+ +(\S+)", done.all)
    return int(words[0]) - int(words[1])


def with_wake(box: boxes.Box, folder: Path) -> Path:
    return variant(
        box, folder / "wake.py",
        ("rig=Rig(", 'rig=Rig(wake_on_lan=WakeOnLan(interface="eth0"),'),
        ("import Notebook,", "import Notebook, WakeOnLan,"),
    )  # fmt: skip


def different(found: dict[str, str], sound: dict[str, str]) -> set[str]:
    """The checks that came to something else."""
    return {name for name in sound.keys() | found.keys() if sound.get(name) != found.get(name)}


def opened_or_refused(inventory: Path) -> Said:
    """What `deeprig tunnel` says of the token, open or not, in time; it is ended then."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            ["env", "--default-signal=INT,HUP", DEEPRIG, "tunnel", "--inventory", str(inventory)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True,
        )  # fmt: skip
        started = time.monotonic()
        while process.poll() is None and "token" not in _text(out) + _text(err):
            if time.monotonic() - started > OPEN_SECONDS:
                process.kill()
                raise AssertionError(f"nothing of a token after {OPEN_SECONDS} s: {_text(err)}")
            time.sleep(0.3)
        opened = process.poll() is None
        process.terminate()
        code = process.wait(20)
        took = time.monotonic() - started
        # One that was open is ended by our signal.
        return Said(0 if opened else code, _text(out), _text(err), took, 0)


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
