"""The questions of the last run, kept for the next one: their text, never an answer."""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from fast_ssh.frames import ROOT, USER

# Runs in which nobody asked it, after which a question is forgotten.
RUNS = 3


class Question(NamedTuple):
    """A command that only reads, and whose shell it is asked in."""

    level: str
    command: str


class Record:
    """What is asked of one host, in the order in which it was asked."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.complaint = ""
        self._before = self._read()
        self._now: dict[Question, int] = {}

    def note(self, question: Question) -> None:
        """It was asked in this run."""
        self._now.setdefault(question, 0)

    def after(self, question: Question) -> list[Question]:
        """What followed it in the last run; nothing where it was not asked then."""
        known = list(self._before)
        return known[known.index(question) + 1 :] if question in self._before else []

    def knows(self, question: Question) -> bool:
        return question in self._before

    def keep(self) -> None:
        """Write down what was asked, readable by its owner alone."""
        unasked = {
            question: runs + 1
            for question, runs in self._before.items()
            if question not in self._now and runs + 1 < RUNS
        }
        content = [[*question, runs] for question, runs in (self._now | unasked).items()]
        if not self._now or content == [[*q, runs] for q, runs in self._before.items()]:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.file.parent, prefix=".questions.")  # 0600
        with os.fdopen(handle, "w") as new:
            json.dump(content, new, indent=0)
        Path(temporary).replace(self.file)

    def _read(self) -> dict[Question, int]:
        """Empty where there is none, or none to be trusted: its commands are run as root there."""
        try:
            with self.file.open() as file:
                about = os.fstat(file.fileno())
                if about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
                    self.complaint = (
                        f"{self.file} can be read or written by others, and is not used"
                    )
                    return {}
                rows = json.load(file)
            return {Question(_level(level), str(text)): int(runs) for level, text, runs in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            self.complaint = f"{self.file} cannot be read ({error}), and is written anew"
            return {}


def _level(level: object) -> str:
    if level not in (USER, ROOT):
        raise ValueError(f"{level!r} is no level")
    return str(level)
