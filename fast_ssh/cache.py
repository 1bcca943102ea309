"""Answers that are still true: nothing was changed since they were asked for, and not long ago."""

import time

from fast_ssh.history import Question
from fast_ssh.wire import Pending

# Somebody else may change the host meanwhile: no answer is used that is older than this.
SECONDS = 10.0


class Cache:
    """The answers of one host, and how many questions to ask ahead."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._answers: dict[Question, Pending] = {}
        self._ahead: int | None = None  # None for all

    def forget(self) -> None:
        """Something was changed, or may have been."""
        self._answers.clear()
        # Where one change follows another, little that is asked ahead would be used.
        self._ahead = 0

    def find(self, question: Question) -> Pending | None:
        """The answer, if it has come lately or is still to come."""
        pending_answer = self._answers.get(question)
        oldest = time.monotonic() - self.seconds
        if pending_answer and pending_answer.came and pending_answer.came < oldest:
            # Those as old are asked again together with it; those still to come will be new.
            self._answers = {
                other: pending
                for other, pending in self._answers.items()
                if not pending.came or pending.came >= oldest
            }
            return None
        return pending_answer

    def keep(self, question: Question, pending: Pending) -> None:
        self._answers[question] = pending

    def drop(self) -> None:
        """The shell that was asked is gone, and the answers that were still to come with it."""
        self._answers.clear()

    def next(self, following: list[Question]) -> list[Question]:
        """Those to ask together with a question, of those that followed it the last time."""
        likely = following if self._ahead is None else following[: self._ahead]
        if self._ahead is not None:
            self._ahead = self._ahead * 2 + 1
        return [question for question in likely if question not in self._answers]
