"""A job's log keeps its text and its colours, and steers no terminal."""

import base64
import re
from typing import Any

import paramiko
import pytest

from deeprig_cli.run.client import JobClient
from deeprig_cli.run.colour_only import ColourOnly
from tests.unit.test_untrusted import JOB

LOG = {
    "text": ("héllo wörld 漢字\n\tdone\r\n", "héllo wörld 漢字\n\tdone\r\n"),
    "a progress bar": ("10%\r20%\r", "10%\r20%\r"),
    "colours": ("\x1b[1;31mred\x1b[0m\x1b[38;2;1;2;3mtrue\x1b[m", None),
    "SGR of 8 bits": ("\x9b31mred", "\x1b[31mred"),
    "a title": ("a\x1b]0;PWN\x07b", "ab"),
    "a title that ends with ST": ("a\x1b]0;PWN\x1b\\b", "ab"),
    "a title of 8 bits": ("a\x9d0;PWN\x9cb", "ab"),
    "the clipboard": ("a\x1b]52;c;aWQ=\x07b", "ab"),
    "a link": ("\x1b]8;;http://x\x1b\\here\x1b]8;;\x1b\\", "here"),
    "DCS": ("a\x1bP$q q\x1b\\b", "ab"),
    "APC": ("a\x1b_Gf=100;AAAA\x1b\\b", "ab"),
    "PM and SOS": ("a\x1b^x\x1b\\b\x1bXy\x1b\\c", "abc"),
    "the screen cleared": ("a\x1b[2Jb\x1b[3Jc\x1b[Hd", "abcd"),
    "the cursor": ("a\x1b[1Ab\x1b[10;10Hc\x1b7d\x1b8e", "abcde"),
    "a question to the terminal": ("a\x1b[6nb\x1b[>cc\x1b[?1;2cd", "abcd"),
    "a mode": ("a\x1b[?1049hb\x1b[?25l\x1b[4h", "ab"),
    "private SGR": ("a\x1b[>4;2mb", "ab"),
    "a reset": ("a\x1bcb", "ab"),
    "another character set": ("a\x1b(0b\x1b)B\x1b%Gc", "abc"),
    "DECALN": ("a\x1b#8b", "ab"),
    "bells and backspaces": ("a\x07b\x08c\x00d\x7fe\x0bf\x0cg", "abcdefg"),
    "bidirectional overrides": ("a\u202eb\u2066c", "abc"),
    "one in another": ("a\x1b[\x1b]0;x\x07b", "ab"),
    "one cut off by another": ("a\x1b\x1b[2Jb", "ab"),
    "a line's end in one": ("a\x1b[1\nb", "a\nb"),
    "a string without an end": ("a\x1b]0;" + "x" * 5000 + "b", "a0;" + "x" * 5000 + "b"),
    "parameters without an end": ("a\x1b[" + "1" * 500, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), LOG.values(), ids=LOG)
@pytest.mark.parametrize("piece", [1, 3, 2**20])
def test_a_log_keeps_its_text_and_colours(text: str, shown: str | None, piece: int) -> None:
    data, out = text.encode(), b""
    only = ColourOnly()
    for start in range(0, len(data), piece):
        out += only.feed(data[start : start + piece])
    out += only.feed(b"", last=True)
    said = out.decode()
    if shown is not None:
        assert said == shown
    for sequence in said.split("\x1b")[1:]:
        assert sequence.startswith("[") and "m" in sequence
    if text.startswith("\x1b[1;31m"):
        assert said == text  # the control: nothing of it is lost


def test_a_log_that_is_no_utf_8_is_shown_all_the_same() -> None:
    assert ColourOnly().feed(b"caf\xe9 \x9b2J\n") == "caf\ufffd \ufffd2J\n".encode()
    assert ColourOnly().feed(b"\xc3") == b"" and ColourOnly().feed(b"\xc3\xa9") == "é".encode()


def test_a_large_log_is_shown_without_delay() -> None:
    only = ColourOnly()
    text = b"epoch 1: \x1b[32mok\x1b[0m\n" * 50_000
    assert only.feed(text) == text


def test_what_a_job_writes_is_filtered_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the link, cut anywhere; the position counts what the box has, not what is shown."""
    pieces = [b"f", b"rom 0", b"\n", b"a\x1b]0;P", b"WN\x07b\x1b[3", b"2mc", b""]

    class Channel:
        def exec_command(self, command: str) -> None:
            """As a box does: the mark, before the command's own output."""
            [packed] = re.findall(r"printf %s (\S+) ", command)
            [mark] = re.findall(rb"echo '(<\w+>)';", base64.b64decode(packed))
            pieces.insert(0, mark + b"\n")

        def recv(self, size: int) -> bytes:
            if pieces and len(pieces[0]) > size:
                first = pieces[0][:size]
                pieces[0] = pieces[0][size:]
                return first
            return pieces.pop(0) if pieces else b""

    class Transport(paramiko.Transport):
        def __init__(self) -> None: ...
        def open_session(self, *_: Any, **__: Any) -> Any:
            return Channel()

    class Out:
        said = b""

        def write(self, data: bytes) -> None:
            Out.said += data

        def flush(self) -> None: ...

    monkeypatch.setattr(JobClient, "_transport", lambda self: Transport())
    monkeypatch.setattr(JobClient, "one", lambda self, name: JOB)
    there = JobClient("rig1", {})
    assert there.follow("train", Out()) == JOB  # type: ignore[arg-type]
    assert Out.said == b"ab\x1b[32mc"
    assert there._position == len(b"a\x1b]0;PWN\x07b\x1b[32mc")
