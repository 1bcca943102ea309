"""`deeprig tunnel` as a user runs it, for the lanes that go through it."""

import http.client
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.conftest import DEEPRIG, ROOT

OPEN_SECONDS = 60


@dataclass
class Tunnel:
    """One that is open; `shown` is its first output: a JSON object, or the page's lines."""

    process: subprocess.Popen[str]
    shown: str
    log: Path

    @property
    def links(self) -> dict[str, Any]:
        """What --json printed."""
        links: dict[str, Any] = json.loads(self.shown)
        return links

    def said(self) -> str:
        """All of stderr so far."""
        return self.log.read_text()

    def answers(self) -> bool:
        """Whether JupyterLab lets us in through it."""
        return status(self.links["jupyterlab"]["url"].replace("/lab?", "/api/status?")) == 200

    def end(self, signal: int) -> int:
        self.process.send_signal(signal)
        return self.process.wait(timeout=20)


@contextmanager
def tunnel(inventory: Path, *options: str, lines: int = 1) -> Iterator[Tunnel]:
    """Open once `lines` lines are printed, ended by force if the test has not ended it."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        # A lane run in the background, or by nohup, would hand its deafness on.
        heard = ["env", "--default-signal=INT,HUP"]
        process = subprocess.Popen(
            [*heard, DEEPRIG, "tunnel", "--inventory", str(inventory), *options],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            shown = "".join(process.stdout.readline() for _ in range(lines))
            assert shown, Path(log.name).read_text()
            yield Tunnel(process, shown, Path(log.name))
        finally:
            process.terminate()
            process.wait(timeout=20)
            process.stdout.close()


def refused(inventory: Path, *options: str) -> tuple[int, str]:
    """Exit status and the sentence of a tunnel that does not open."""
    done = subprocess.run(
        [DEEPRIG, "tunnel", "--inventory", str(inventory), *options],
        cwd=ROOT, text=True, capture_output=True, check=False, timeout=OPEN_SECONDS,
    )  # fmt: skip
    progress = ("==> ", "    ")
    said = [line for line in done.stderr.splitlines() if not line.startswith(progress)]
    assert done.stdout == ""
    assert len(said) == 1, done.stderr
    return done.returncode, said[0]


def status(url: str) -> int | None:
    """HTTP's answer through no proxy; None where there is none."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None
