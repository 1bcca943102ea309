"""One run of a contender, measured from outside."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import ROOT, WORK, Contender

COUNT = WORK / "channels"


@dataclass(frozen=True)
class Sample:
    """`seconds` are the clock's, `cpu` the control machine's own.

    Channels, and the peak of memory in MB, are known only of pyinfra.
    """

    seconds: float
    cpu: float
    channels: int | None
    memory: int | None
    turns: int
    sent: int
    received: int


class Link:
    """A door to the box, so far away: `rtt_ms` is what was measured, not what was asked for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        said = self._read()
        self.door: tuple[str, int] = (said["host"], said["port"])
        self.rtt_ms: float = said["rtt_ms"]

    def counts(self) -> dict[str, int]:
        """Bytes out and in so far, and how often it was our turn to speak: the round trips."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said


@contextmanager
def link(milliseconds: float, host: str, port: int) -> Iterator[Link]:
    command = [sys.executable, "-m", "bench.link", str(milliseconds), host, str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Link(process)
    finally:
        process.kill()
        process.wait()


def once(contender: Contender, through: Link) -> Sample:
    """Run it to its end. Raises RuntimeError with what it said where it failed."""
    COUNT.unlink(missing_ok=True)
    before = through.counts()
    log = Path(WORK / "last-run.log")
    with log.open("w") as said:
        started = time.monotonic()
        process = subprocess.Popen(
            contender.command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT,
            env=os.environ | contender.env | {"BENCH_COUNT": str(COUNT), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in contender.good:
        raise RuntimeError(f"{contender.name} failed:\n{log.read_text()[-3000:]}")
    after = through.counts()
    counted = json.loads(COUNT.read_text()) if contender.pyinfra and COUNT.exists() else {}
    return Sample(
        seconds=round(seconds, 3),
        cpu=round(used.ru_utime + used.ru_stime, 3),
        channels=counted.get("channels"),
        memory=counted.get("memory_mb"),
        turns=after["turns"] - before["turns"],
        sent=after["out"] - before["out"],
        received=after["in"] - before["in"],
    )


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Medians, and the spread of the seconds."""
    seconds = [one.seconds for one in samples]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "least": min(seconds),
        "most": max(seconds),
        "cpu": round(statistics.median(one.cpu for one in samples), 3),
        "memory_mb": samples[-1].memory,
        "channels": samples[-1].channels,
        "turns": round(statistics.median(one.turns for one in samples)),
        "kb_sent": round(statistics.median(one.sent for one in samples) / 1024, 1),
        "kb_received": round(statistics.median(one.received for one in samples) / 1024, 1),
        "runs": len(samples),
    }
