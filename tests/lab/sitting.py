"""Somebody at a terminal, who answers what is asked."""

import os
import pty
import subprocess
import time
from pathlib import Path

SECONDS_TO_ASK = 60


class Sitting:
    """One command that runs in a terminal of its own."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.terminal, inner = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=folder, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        )  # fmt: skip
        os.close(inner)
        self.said = ""

    def answer(self, question: str, answer: str) -> None:
        until = time.monotonic() + SECONDS_TO_ASK
        while question not in self.said:
            assert time.monotonic() < until, self.said
            self.said += os.read(self.terminal, 4096).decode(errors="replace")
        before, _, self.said = self.said.partition(question)
        print(before + question, answer)
        os.write(self.terminal, f"{answer}\n".encode())

    def end(self) -> tuple[int, str]:
        try:
            while data := os.read(self.terminal, 4096):
                self.said += data.decode(errors="replace")
        except OSError:
            pass  # nobody holds it any more
        return self.process.wait(30), self.said.replace("\r", "")
