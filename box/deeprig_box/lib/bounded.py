"""Run a program for so long and no longer, and read what it says, in English.

A driver or a file server that hangs keeps a process in state D, which no signal ends, and
`subprocess.run(timeout=)` waits for it after its kill. So it has a session of its own and prints
into memory; one that is not over in time is killed and left behind. Needs nothing of ours: a check
sends it to a box as it is, to be run as `bounded.py SECONDS PROGRAM ...`.
"""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

SECONDS = 120.0
LONG = 2 * 3600.0  # for what fetches, builds or formats
TIMED_OUT, MISSING = 124, 127  # as timeout(1) and shells have it
# What PAM gives a login, the last one last: it is what Debian and Ubuntu write.
LOCALE_FILES = (Path("/etc/locale.conf"), Path("/etc/default/locale"))
MOST_BYTES = 64 * 2**20
SECONDS_TO_DIE = 1


class Done(NamedTuple):
    """What it came to. Where it hung or is not there, `code` and a sentence in `err` say so."""

    code: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        """What it printed; bytes that are no UTF-8 are replaced."""
        return self.data.decode(errors="replace")

    @property
    def last_words(self) -> str:
        """The last line of its complaint, or of what it said."""
        text = self.err.strip() or self.out.strip() or "it gave no reason"
        return text.splitlines()[-1].strip()


def run(
    argv: Sequence[object],
    *,
    seconds: float = SECONDS,
    stdin: bytes | str = b"",
    environment: Mapping[str, str] | None = None,
    english: bool = True,
    folder: str | os.PathLike[str] | None = None,
    shown: bool = False,
) -> Done:
    """Its answer. `environment` is added to the caller's; `shown` is printed as it comes instead.

    `english` is for what is read; what is to go on running keeps the caller's language.
    """
    words = [str(word) for word in argv]
    with _memory() as given, _memory() as out, _memory() as err:
        given.write(stdin if isinstance(stdin, bytes) else stdin.encode())
        given.seek(0)
        ours = in_english() if english else dict(os.environ)
        try:
            process = subprocess.Popen(
                words, stdin=given, stdout=None if shown else out, stderr=None if shown else err,
                start_new_session=True, cwd=folder, env=ours | dict(environment or {}),
            )  # fmt: skip
        except FileNotFoundError:
            return Done(MISSING, b"", f"{words[0]} is not there")
        except OSError as error:
            return Done(MISSING, b"", f"{words[0]} cannot be run: {error.strerror}")
        try:
            if not _ends(process, seconds):
                sentence = f"{words[0]} has not ended within {seconds:g} s"
                return Done(TIMED_OUT, _read(out), sentence)
            return Done(process.wait(), _read(out), _read(err).decode(errors="replace"))
        finally:
            if process.returncode is None:
                leave(process)


def in_english() -> dict[str, str]:
    """The caller's environment, with the words that we know how to read."""
    kept = {key: value for key, value in os.environ.items() if key != "LANGUAGE"}
    return kept | {"LC_ALL": "C"}


def in_the_boxs_language() -> dict[str, str]:
    """What is to be added for a program that writes words of people's, such as GRUB's titles: an
    owner's GRUB_DEFAULT may be one, as `sudo update-grub` writes them there.
    """
    variables = dict.fromkeys(("LANG", "LANGUAGE", "LC_MESSAGES"), "")
    for file in LOCALE_FILES:
        with suppress(OSError):
            text = file.read_text(errors="replace")
            variables |= dict(
                re.findall(r"""^\s*(LANG|LANGUAGE|LC_MESSAGES)=["']?([\w.@:-]+)""", text, re.M)
            )
    return variables | {"LC_ALL": ""}


def _memory() -> BinaryIO:
    """A file that needs no disk: /tmp may be full, or shut to a unit of ours."""
    return os.fdopen(os.memfd_create("answer"), "w+b", buffering=0)


def _read(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), MOST_BYTES, 0)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends in time."""
    waiting, ended = select.poll(), os.pidfd_open(process.pid)
    try:
        waiting.register(ended, select.POLLIN)
        return bool(waiting.poll(1000 * seconds))
    finally:
        os.close(ended)


def leave(process: subprocess.Popen[bytes]) -> None:
    """Kill it with all that it started, and wait for no more than that: it may never end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if _ends(process, SECONDS_TO_DIE):
        process.wait()
    else:
        process.returncode = -signal.SIGKILL  # else Python itself looks after it


def main() -> int:
    done = run(sys.argv[2:], seconds=float(sys.argv[1]))
    sys.stdout.buffer.write(done.out.encode())
    sys.stderr.buffer.write(done.err.encode())
    return done.code if done.code >= 0 else 128 - done.code
