"""What a kept shell is told, line by line, and how its answers are told apart."""

import base64
import gzip
import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

from fast_ssh.errors import TooMuch

# What a shell is to run, given the number of its answer.
Script = Callable[[int], str]
USER, ROOT = "u", "r"
# The shell reads a line byte by byte; a longer one is sent packed.
LONGEST_LINE = 600
# Of one answer. A host may be anybody's by now, and each line of it becomes an object here.
MOST_BYTES, MOST_LINES = 8 * 2**20, 200_000


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


# What is said there is read by programs, which know it in English. LANGUAGE counts for nothing so.
LOCALE = {"LC_ALL": "C"}
# What the kept shell can do; each begins with fast_, so that it is in no command's way. `fast_q` is
# the command at hand, and $1 the number of its answer.
FUNCTIONS = "; ".join((
    *(f"export {name}={value}" for name, value in LOCALE.items()),
    "fast_d=",
    # Have a folder that nobody else can open, with room for the answers, where one is to be had.
    'fast_room() { [ -z "$fast_d" ] || return 0; '
    "fast_d=$({ mktemp -d -p /run fast-ssh.XXXXXX || mktemp -d; } 2>/dev/null) || "
    "{ fast_d=; return 1; }; trap 'rm -rf \"$fast_d\"' EXIT; trap exit HUP INT PIPE TERM; "
    '{ fallocate -l 8M "$fast_d/room" || dd if=/dev/zero of="$fast_d/room" bs=1M count=8; } '
    '2>/dev/null && : >"$fast_d/room" && return; rm -rf "$fast_d"; fast_d=; return 1; }',
    # Pass on the files of this name.
    'fast_pass() { [ ! -s "$fast_d/$1.o" ] || cat "$fast_d/$1.o"; '
    '[ ! -s "$fast_d/$1.e" ] || cat "$fast_d/$1.e" >&2; : >"$fast_d/$1.o"; : >"$fast_d/$1.e"; }',
    # Have a command print into files of its own, which are read when it has ended: what it leaves
    # running, whoever's that is, holds nothing on which another answer travels.
    'fast_into() { fast_q </dev/null >"$fast_d/$1.o" 2>"$fast_d/$1.e"; }',
    "fast_ask() { if fast_room; then fast_into $1; fast_r=$?; fast_pass $1; fast_end $1 $fast_r; "
    "else fast_pipe $1; fi; }",
    # Without a folder: pipes. Its answer ends when nobody can write to it any more, as with ssh.
    "fast_pipe() { { fast_r=$( { { { fast_q </dev/null 3>&- 4>&- 5>&- 6>&-; echo $? >&3; } 2>&6 | "
    "cat >&4; } 6>&1 | cat >&5; } 3>&1 ); } 4>&1 5>&2; fast_end $1 $fast_r; }",
    # Pass on what has come while it runs. What has ended and was not waited for still has a
    # process, so it leaves word itself.
    'fast_watch() { fast_room || { fast_pipe $1; return; }; fast_o=0 fast_e=0; : >"$fast_d/end"; '
    '{ fast_into $1; echo $? >"$fast_d/end"; } & '
    'until [ -s "$fast_d/end" ]; do sleep 0.1; fast_new $1; done; wait $!; fast_new $1; '
    'read -r fast_r <"$fast_d/end"; : >"$fast_d/$1.o"; : >"$fast_d/$1.e"; fast_end $1 $fast_r; }',
    'fast_new() { fast_n=$(stat -c %s "$fast_d/$1.o"); [ "$fast_n" -le "$fast_o" ] || '
    '{ tail -c +$((fast_o + 1)) "$fast_d/$1.o" | head -c $((fast_n - fast_o)); fast_o=$fast_n; }; '
    'fast_n=$(stat -c %s "$fast_d/$1.e"); [ "$fast_n" -le "$fast_e" ] || '
    '{ tail -c +$((fast_e + 1)) "$fast_d/$1.e" | head -c $((fast_n - fast_e)) >&2; '
    "fast_e=$fast_n; }; }",
))  # fmt: skip


class Marks:
    """The end of each answer, on both streams: nothing on the box can know it beforehand.

    It stands in no argument, so `ps` does not show it; a file made by somebody else cannot hold it.
    """

    def __init__(self, secret: str) -> None:
        self.start = f"<{secret}:".encode()
        ends = f"printf '<{secret}:%s:%s>\\n' $1 $2"
        # No child of the shell inherits a function of its own.
        self.function = f"fast_end() {{ {ends}; {ends} >&2; }}"


def end(number: int, status: str = "$?") -> str:
    """The end of an answer that is nothing but that."""
    return f"fast_end {number} {status}"


def question(number: int, command: str) -> str:
    """A command that only reads."""
    return f"fast_q() {{ {_forked(command)}; }}; fast_ask {number}"


# pyinfra hands each command to a shell of its own: `sh -c '...'` and nothing else.
WRAPPED = re.compile(r"""sh -c ('[^']*'("'"'[^']*')*)""")

# A question that is led to read without end must not fill the host's memory: 512 MiB, in blocks of
# 512 bytes. apt's own cache, which it may renew when it is asked, is far below.
LARGEST_FILE = 2**20
# Of a fork these are the kept shell's.
PROCESS = re.compile(r"\$\$|PPID")


def _forked(command: str) -> str:
    """The same, by a fork of the kept shell: to start one anew costs more than most questions.

    What is the kept shell's own is out of its way: unset, or by a name that begins with fast_. One
    that asks for its process has one.
    """
    if (match := WRAPPED.fullmatch(command)) and not PROCESS.search(command):
        apart = "set --; unset -v l fast_d; unset -f fast_end"
        return f"(ulimit -f {LARGEST_FILE}; {apart}; eval {match[1]})"
    return command


def begin(job: int, command: str) -> str:
    """Start a command that only reads, beside the others; nothing is answered yet."""
    return (
        f"fast_q{job}() {{ {_forked(command)}; }}; fast_p{job}=; "
        f"fast_q() {{ fast_q{job}; }}; if fast_room; then fast_into j{job} & fast_p{job}=$!; fi"
    )


def collect(number: int, job: int) -> str:
    """Wait for what was begun, and answer; run it now where it could not be begun."""
    return (
        f'if [ "$fast_p{job}" ]; then wait $fast_p{job}; fast_r=$?; fast_pass j{job}; '
        f"{end(number, '$fast_r')}; else fast_q() {{ fast_q{job}; }}; fast_ask {number}; fi"
    )


def task(number: int, command: str, stdin: bytes | None, *, watched: bool = False) -> str:
    """Any command; `watched` is one whose output is wanted while it runs.

    What it leaves running is not waited for, as a shell would not, and is in nobody's answer.
    """
    given = (
        "" if stdin is None else f"printf %s '{base64.b64encode(stdin).decode()}' | base64 -d | "
    )
    how = "fast_watch" if watched else "fast_ask"
    return f"fast_q() {{ ({given}{command}); }}; {how} {number}"


# What stands after the mark: the answer's number and the status.
END = re.compile(rb"(\d{1,9}):(\d{0,3})")


class Answer(NamedTuple):
    """One stream's part of an answer."""

    number: int
    code: int
    data: bytes
    shown: int


def _check(size: int, lines: int) -> None:
    if size > MOST_BYTES or lines > MOST_LINES:
        limits = f"{MOST_BYTES // 2**20} MiB or {MOST_LINES} lines"
        raise TooMuch(f"it answered with more than {limits}")


class Stream:
    """One of the two streams of a shell, cut into answers."""

    def __init__(self, marks: Marks) -> None:
        self._mark = marks.start
        self._data = bytearray()
        self._searched = 0
        self._shown = 0
        self._lines = 0

    def feed(self, chunk: bytes) -> list[Answer]:
        """The answers that this completes. Raises TooMuch."""
        self._data += chunk
        self._lines += chunk.count(b"\n")
        answers: list[Answer] = []
        while (at := self._data.find(self._mark, self._searched)) >= 0:
            end = self._data.find(b">\n", at)
            if end < 0:
                break
            data = bytes(self._data[:at])
            ending = END.fullmatch(self._data[at + len(self._mark) : end])
            if not ending:
                raise TooMuch("what ends its answers is not what it was told")
            _check(len(data), data.count(b"\n"))
            answers.append(Answer(int(ending[1]), int(ending[2] or 1), data, self._shown))
            del self._data[: end + 2]
            self._searched = self._shown = 0
            self._lines = self._data.count(b"\n")
        self._searched = at if at >= 0 else max(0, len(self._data) - len(self._mark))
        _check(len(self._data), self._lines)
        return answers

    def lines(self) -> list[bytes]:
        """Whole lines of an answer that is not complete yet, each given once."""
        end = self._data.rfind(b"\n") + 1
        if end <= self._shown:
            return []
        new = bytes(self._data[self._shown : end])
        self._shown = end
        return new[:-1].split(b"\n")
