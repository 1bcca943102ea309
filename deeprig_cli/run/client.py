"""A box's jobs over SSH: begun, listed, stopped, and followed through lost links."""

import json
import time
from typing import Any, BinaryIO

import paramiko

from deeprig.errors import DeeprigError
from deeprig.parsers import untrusted
from deeprig.ssh import root_shell
from deeprig.ssh.connection import OtherHostKey
from deeprig.ssh.session import Session
from deeprig.ui import screen
from deeprig_cli.run.colour_only import ColourOnly

SECONDS = 120
TRY_EVERY = 3.0
RUNS = ("starting", "running")
ENDED = ("done", "failed", "stopped", "lost")
LONGEST_HEAD = 40  # bytes: "from 4096"
Job = dict[str, Any]

# As box/deeprig_box/jobs/records.py has it. The folder that says it is the work user's,
# who may write there what they like.
FORM = {
    "name": untrusted.parser("name of a job", r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", 40),
    "state": untrusted.parser("state of a job", "|".join((*RUNS, *ENDED)), 10),
    "status": (int, None),
    "started": int,
    "ended": (int, None),
    "seconds": (float, None),
    "command": str,
    "gpus": [{"index": str, "uuid": str, "name": str}],
    "environment": (str, None),
    "log": str,
    "said": (str, None),
    "notebook": (str, None),
}


class Refused(DeeprigError):
    """The box said no, with a reason; nothing was begun or stopped."""


class JobClient(Session):
    """One box: one connection, opened anew where it was lost."""

    program = "job"

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(name, data)
        self._position = -1
        self._shown = ColourOnly()
        self._told = ""

    def start(self, asked: dict[str, Any]) -> Job:
        # The command travels on stdin: what is typed there may hold a secret.
        return self._job(self._ask("start", stdin=json.dumps(asked)))

    def stop(self, name: str) -> Job:
        return self._job(self._ask("stop", name))

    def every(self) -> list[Job]:
        answer = self._ask("list")
        try:
            jobs = untrusted.shaped(json.loads(answer), [FORM])
            return [{"host": self.name, **job} for job in jobs]
        except untrusted.ODD as error:
            raise self._odd(error) from None

    def one(self, name: str) -> Job:
        """Raises Refused where there is no job of that name."""
        jobs = self.every()
        for job in jobs:
            if job["name"] == name:
                return job
        have = ", ".join(job["name"] for job in jobs) or "none"
        raise Refused(f"{self.name} has no job {name}; it has: {have}.")

    def follow(self, name: str, out: BinaryIO) -> Job:
        """Its log as it grows, until it has ended; the job as it stands then."""
        self.one(name)
        self._position = -1  # where its end begins, which the box knows
        self._shown = ColourOnly()  # the same over lost links: the log goes on where it was left
        while True:
            try:
                self._read(name, out)
                job = self.one(name)
                if job["state"] not in RUNS:
                    out.write(self._shown.feed(b"", last=True))
                    out.flush()
                    return job
                self._tell("The link was lost and is there again; the job goes on.")
            except (Refused, OtherHostKey):
                raise
            except (DeeprigError, paramiko.SSHException, OSError, EOFError) as error:
                self.close()
                reason = str(error).rstrip(".") or "it was closed"
                self._tell(f"The link is lost ({reason}), which does not end the job.")
            time.sleep(TRY_EVERY)

    def _tell(self, sentence: str) -> None:
        """Once, however often it is tried."""
        if sentence != self._told:
            screen.echo(sentence, err=True)
        self._told = sentence

    def _read(self, name: str, out: BinaryIO) -> None:
        """What comes until the job's end or a lost link, from where it was left."""
        question = self._command("follow", name, str(self._position))
        channel = root_shell.follow(self._transport(), question)
        begun = b""  # such as b"from 4096"
        while len(begun) < LONGEST_HEAD and (byte := channel.recv(1)) not in (b"", b"\n"):
            begun += byte
        if not begun.startswith(b"from "):
            return
        self._position = untrusted.number(begun[len(b"from ") :].decode(errors="replace"))
        while data := channel.recv(65536):
            out.write(self._shown.feed(data))
            out.flush()
            self._position += len(data)

    def _ask(self, *words: str, stdin: str = "") -> str:
        done = root_shell.run(
            self._transport(), self._command(*words), stdin=stdin, seconds=SECONDS
        )
        if done.code == 0:
            return done.out
        if "not found" in done.last_words or "No such file" in done.last_words:
            raise DeeprigError(f"{self.name} has nothing that runs jobs yet; deploy there first.")
        if done.code == 1:
            raise Refused(f"{self.name}: {done.last_words}")
        raise DeeprigError(f"{self.name}: {done.last_words}")

    def _job(self, said: str) -> Job:
        try:
            return {"host": self.name, **untrusted.shaped(json.loads(said), FORM)}
        except untrusted.ODD as error:
            raise self._odd(error) from None

    def _odd(self, error: Exception) -> DeeprigError:
        return DeeprigError(
            f"{self.name} says of its jobs what cannot be so ({untrusted.why(error)}); look at "
            "~/.local/state/deeprig/jobs there."
        )
