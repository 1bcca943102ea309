"""What a kept shell is told, line by line, and how its answers are told apart."""

import base64
import gzip
import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

# What a shell is to run, given the number of its answer.
Script = Callable[[int], str]
USER, ROOT = "u", "r"
# The shell reads a line byte by byte; a longer one is sent packed.
LONGEST_LINE = 600


def loop(level: str) -> str:
    """A shell program that runs the lines meant for its level and passes over all others.

    `read` takes no byte beyond the end of a line, so the line after it may be another shell's. $1
    is a word that each line begins with: a password that nobody asked for is no command.
    """
    plain, packed = f'"$1"{level}', f'"$1"{level.upper()}'
    leave = f'"$1"{level}.) exit;; ' if level == ROOT else ""
    return (
        f"while IFS= read -r l; do case $l in {leave}"
        f'{plain}*) eval "${{l#{plain}}}";; '
        f'{packed}*) eval "$(printf %s "${{l#{packed}}}" | base64 -d | gzip -dc)";; esac; done'
    )


def line(word: str, level: str, script: str) -> bytes:
    """One line that has the loop of this level run a script."""
    if len(script) <= LONGEST_LINE and "\n" not in script and script.isascii():
        return f"{word}{level}{script}\n".encode()
    packed = base64.b64encode(gzip.compress(script.encode(errors="surrogateescape"), 6))
    return f"{word}{level.upper()}".encode() + packed + b"\n"


def leave(word: str) -> bytes:
    """The line that ends the root loop; the one below it goes on."""
    return f"{word}{ROOT}.\n".encode()


def enter(word: str, *, by_password: bool) -> str:
    """The script that starts the root loop, on the same input.

    By password: what stands before the word is skipped, for sudo leaves a password unread where it
    does not ask for one.
    """
    if not by_password:
        return f"sudo -n -H sh -c {shlex.quote(loop(ROOT))} sh {word}"
    skip = 'while IFS= read -r l && [ "$l" != "$1"go ]; do :; done; '
    return f"sudo -k -S -p '' -H sh -c {shlex.quote(skip + loop(ROOT))} sh {word}"


def unlock(word: str, password: str) -> bytes:
    """What sudo reads, and the word after which the root loop begins."""
    return f"{password}\n{word}go\n".encode()


class Marks:
    """The end of each answer, on both streams: nothing on the box can know it beforehand.

    It stands in no argument, so `ps` does not show it; a file made by somebody else cannot hold it.
    """

    def __init__(self, secret: str) -> None:
        self.start = f"<{secret}:".encode()
        # A function of the shell's own, which no child of it inherits.
        self.function = (
            "fast_d=; "
            f"e() {{ printf '<{secret}:%s:%s>\\n' $1 $2; printf '<{secret}:%s:%s>\\n' $1 $2 >&2; }}"
        )


def question(number: int, command: str) -> str:
    """A command that only reads: its output goes straight into the answer."""
    return f"{_forked(command)} </dev/null; e {number} $?"


# pyinfra hands each command to a shell of its own: `sh -c '...'` and nothing else.
WRAPPED = re.compile(r"""sh -c ('[^']*'("'"'[^']*')*)""")

# Of a fork these are the kept shell's.
PROCESS = re.compile(r"\$\$|PPID")


def _forked(command: str) -> str:
    """The same, by a fork of the kept shell: to start one anew costs more than most questions.

    What is the kept shell's own is out of its way: unset, or by a name that begins with fast_. One
    that asks for its process has one.
    """
    if (found := WRAPPED.fullmatch(command)) and not PROCESS.search(command):
        return f"(set --; unset -v l r fast_d; unset -f e; eval {found[1]})"
    return command


# A folder for the output of what runs beside the rest, if there is room for a mebibyte.
ROOM = (
    '[ -n "$fast_d" ] || { fast_d=$(mktemp -d) && trap \'rm -rf "$fast_d"\' EXIT && '
    'dd if=/dev/zero of="$fast_d/room" bs=1M count=1 2>/dev/null && rm "$fast_d/room"; }'
)


def begin(job: int, command: str) -> str:
    """Start a command that only reads, beside the others; nothing is answered yet."""
    return (
        f"fast_q{job}() {{ {_forked(command)} </dev/null; }}; fast_p{job}=; {{ {ROOM}; }} && "
        f'{{ fast_q{job} >"$fast_d/{job}.o" 2>"$fast_d/{job}.e" & fast_p{job}=$!; }}'
    )


def collect(number: int, job: int) -> str:
    """Wait for what was begun, and answer; run it now where it could not be begun."""
    return (
        f'if [ "$fast_p{job}" ]; then wait $fast_p{job}; r=$?; cat "$fast_d/{job}.o"; '
        f'cat "$fast_d/{job}.e" >&2; else fast_q{job}; r=$?; fi; e {number} $r'
    )


def task(number: int, command: str, stdin: bytes | None) -> str:
    """Any command. Its answer ends when nobody can write to it any more, as with ssh itself."""
    given = ""
    if stdin is not None:
        given = f"printf %s '{base64.b64encode(stdin).decode()}' | base64 -d | "
    alone = f"{given}{command} 3>&- 4>&- 5>&- 6>&-"
    if stdin is None:
        alone += " </dev/null"
    return (
        f"{{ r=$( {{ {{ {{ {alone}; echo $? >&3; }} 2>&6 | cat >&4; }} 6>&1 | cat >&5; }} 3>&1 ); "
        f"}} 4>&1 5>&2; e {number} $r"
    )


class Answer(NamedTuple):
    """One stream's part of an answer."""

    number: int
    code: int
    data: bytes
    shown: int


class Stream:
    """One of the two streams of a shell, cut into answers."""

    def __init__(self, marks: Marks) -> None:
        self._mark = marks.start
        self._data = bytearray()
        self._searched = 0
        self._shown = 0

    def feed(self, chunk: bytes) -> list[Answer]:
        """The answers that this completes."""
        self._data += chunk
        found: list[Answer] = []
        while (at := self._data.find(self._mark, self._searched)) >= 0:
            end = self._data.find(b">\n", at)
            if end < 0:
                self._searched = at
                return found
            number, code = bytes(self._data[at + len(self._mark) : end]).split(b":")
            data = bytes(self._data[:at])
            found.append(Answer(int(number), int(code or 1), data, self._shown))
            del self._data[: end + 2]
            self._searched = self._shown = 0
        self._searched = max(0, len(self._data) - len(self._mark))
        return found

    def lines(self) -> list[bytes]:
        """Whole lines of an answer that is not complete yet, each given once."""
        end = self._data.rfind(b"\n") + 1
        if end <= self._shown:
            return []
        new = bytes(self._data[self._shown : end])
        self._shown = end
        return new[:-1].split(b"\n")
