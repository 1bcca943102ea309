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
# A question that takes this long is asked beside the others, but no more than so many of them.
SLOW_SECONDS = 0.02
BESIDE = 8


class Question(NamedTuple):
    """A command that only reads, and whose shell it is asked in."""

    level: str
    command: str


class Known(NamedTuple):
    """What is remembered of a question: runs without it, and how long its answer took."""

    unasked: int = 0
    seconds: float = 0.0


class History:
    """What is asked of one host, in the order in which it was asked."""

    def __init__(self, file: Path, asker: str = "") -> None:
        """`asker` names the programs that ask: what others asked is not asked again."""
        self.file = file
        self.asker = asker
        self.complaint = ""
        self.by_password = False  # whether sudo wanted one in the last run; it is not kept
        self._before = self._read()
        self._now: dict[Question, Known] = {}
        self._by_password_now = False

    def note(self, question: Question, *, by_password: bool) -> None:
        """It was asked in this run."""
        self._by_password_now |= by_password
        self._now.setdefault(question, Known(0, self._before.get(question, Known()).seconds))

    def took(self, question: Question, seconds: float) -> None:
        """How long its answer took; of no interest for one that was not asked in this run."""
        if question in self._now:
            self._now[question] = Known(0, round(seconds, 2))

    def known(self) -> list[Question]:
        """All that were asked in the last run."""
        return [question for question, known in self._before.items() if not known.unasked]

    def after(self, question: Question) -> list[Question]:
        """What followed it in the last run; nothing where it was not asked then."""
        known = list(self._before)
        return known[known.index(question) + 1 :] if question in self._before else []

    def slowest(self, questions: list[Question]) -> list[Question]:
        """Those that are worth being asked beside the others."""
        times = {q: self._before[q].seconds for q in questions if q in self._before}
        slow = [q for q, seconds in times.items() if seconds >= SLOW_SECONDS]
        return sorted(slow, key=lambda q: -times[q])[:BESIDE]

    def keep(self) -> None:
        """Write down what was asked, readable by its owner alone; where that is not possible, the
        next run asks one by one, and `complaint` says so.
        """
        left = {
            question: Known(known.unasked + 1, known.seconds)
            for question, known in self._before.items()
            if question not in self._now and known.unasked + 1 < RUNS
        }
        content = self._now | left
        same = content == self._before and self._by_password_now == self.by_password
        if not self._now or same:
            return
        rows = [[*question, *known] for question, known in content.items()]
        text = json.dumps(
            {"by_password": self._by_password_now, "asker": self.asker, "questions": rows}, indent=0
        )
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.file, text)
        except OSError as error:
            why = error.strerror or error
            self.complaint = f"{self.file} cannot be written ({why}); the next run is slower"

    def _read(self) -> dict[Question, Known]:
        """Empty where there is none, or none to be trusted: its commands are run as root there."""
        try:
            with self.file.open() as file:
                about = os.fstat(file.fileno())
                if about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
                    self.complaint = (
                        f"{self.file} can be read or written by others, and is not used"
                    )
                    return {}
                content = json.load(file)
            if not isinstance(content, dict):
                raise ValueError("it is no object")
            if content.get("asker") != self.asker:
                return {}
            self.by_password = bool(content["by_password"])
            rows = content["questions"]
            return {Question(_level(a), str(b)): Known(int(c), float(d)) for a, b, c, d in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.complaint = f"{self.file} cannot be read ({error}), and is written anew"
            return {}


def _replace(file: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".questions.")  # 0600
    try:
        with os.fdopen(handle, "w") as new:
            new.write(text)
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)  # a full disk takes no half of it either
        raise


def _level(level: object) -> str:
    if level not in (USER, ROOT):
        raise ValueError(f"{level!r} is no level")
    return str(level)
