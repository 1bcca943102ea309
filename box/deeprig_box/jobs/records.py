"""What is known of each job: its folder, what it was started with, how it ended."""

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from deeprig_box.lib import files

FOLDER = Path.home() / ".local/state/deeprig/jobs"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LAST_BYTES = 4096
KEPT_LOG_BYTES = 100_000_000  # and as many again from before
# The one before it of the same name; no name of a job may end like this.
BEFORE = ".before"


class Job:
    """One job of this user, by what its folder says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = FOLDER / name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def begun(self) -> Path:
        """There once the command itself has begun: a login shell reads files of its user first."""
        return self.folder / "begun"

    @property
    def unit(self) -> str:
        return f"deeprig-job-{self.name}.scope"

    def begin(self, record: dict[str, Any]) -> None:
        """A new folder for it; what is left of one of that name before is kept once."""
        if self.folder.exists():
            before = self.folder.with_name(self.name + BEFORE)
            shutil.rmtree(before, ignore_errors=True)
            self.folder.rename(before)
        self.folder.mkdir(mode=0o700, parents=True)
        self.log.touch(mode=0o600)
        self.write("job.json", {**record, "started": time.time(), "boot": boot(), "marks": True})

    def write(self, name: str, value: Any) -> None:
        """Whole or not at all, since a list may be asked for at any moment."""
        files.write(self.folder / name, value if isinstance(value, str) else json.dumps(value))

    def read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return {}
        return content

    @property
    def exists(self) -> bool:
        return bool(self.read("job.json"))

    @property
    def runs(self) -> bool:
        return self.state() in ("starting", "running")

    def state(self) -> str:
        """`starting`, `running`, `done`, `failed`, `stopped`, or `lost`: it was cut off."""
        record, end = self.read("job.json"), self.read("end.json")
        if end:
            return str(end["how"])
        if record.get("boot") != boot():
            return "lost"
        number = self.read("window.json").get("pid")
        if number is None:
            return "starting" if time.time() - record["started"] < 30 else "lost"
        if not is_window(number, self.name):
            return "lost"
        # One that an older deeprig began says nothing of its beginning.
        return "starting" if record.get("marks") and not self.begun.exists() else "running"

    def last_words(self) -> str:
        """The last line of its log that says something."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LAST_BYTES))
            lines = ESCAPES.sub("", log.read().decode(errors="replace")).splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]

    def to_json(self) -> dict[str, Any]:
        record, end, state = self.read("job.json"), self.read("end.json"), self.state()
        until = end.get("at") or (time.time() if state in ("starting", "running") else None)
        return {
            "name": self.name,
            "state": state,
            "status": end.get("status"),
            "started": int(record["started"]),
            "ended": int(end["at"]) if end else None,
            "seconds": round(until - record["started"], 1) if until else None,
            "command": record["command"],
            "gpus": record["gpus"],
            "environment": record["environment"],
            "log": str(self.log),
            "said": self.last_words() if end else None,
            "notebook": record["notebook"],
        }


def is_window(number: int, name: str) -> bool:
    """Whether this process is that job's window, and not another one by now."""
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.split(b"/")[-1] == b"job-window" for word in words) and name.encode() in words


def boot() -> str:
    return BOOT_ID.read_text().strip()


def every() -> list[Job]:
    """All of this user, the last begun last."""
    named = [Job(path.name) for path in FOLDER.glob("*") if NAME.fullmatch(path.name)]
    jobs = [job for job in named if job.exists]
    return sorted(jobs, key=lambda job: float(job.read("job.json")["started"]))


def ours() -> None:
    """Make the folder above them, for this user's eyes alone."""
    os.umask(0o077)
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
