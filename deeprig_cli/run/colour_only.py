"""A job's log on its way to a terminal: colours stay, anything else that steers one does not.

What stays is text, tabs, ends of lines, a return to the beginning of the line (progress bars) and
SGR, which sets colours. What goes: OSC (titles, the clipboard), DCS, APC, PM, SOS, whatever moves
the cursor or asks the terminal something, and every other control character, also of 8 bits.
"""

import codecs
import re

KEPT = "\n\r\t"
CSI, ST = "\x9b", "\x9c"
# Those that begin a string, which ends with ST, or BEL; and what stands for them after ESC.
STRINGS = "\x90\x98\x9d\x9e\x9f"
AFTER_ESC = {"[": CSI, "\\": ST, "P": "\x90", "X": "\x98", "]": "\x9d", "^": "\x9e", "_": "\x9f"}
LONGEST_STRING = 4096  # what is longer is shown: without its beginning it is mere text
LONGEST_CSI = 64
SGR = re.compile(r"[0-9;:]*m")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class ColourOnly:
    """Takes a log in pieces; a sequence may be cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What of it may be shown now."""
        text = self._held + self._decoder.decode(data, final=last)
        shown, self._held = _shown(text)
        return "".join(shown).encode()


def _shown(text: str) -> tuple[list[str], str]:
    """What may be shown, and the sequence at the end that has not come whole yet."""
    shown, at = [], 0
    while control := CONTROLS.search(text, at):
        shown.append(text[at : control.start()])
        kept, at = _sequence(text, control.start())
        if at < 0:
            return shown, text[control.start() :]
        shown.append(kept)
    shown.append(text[at:])
    return shown, ""


def _sequence(text: str, start: int) -> tuple[str, int]:
    """What stays of the control character or sequence there, and where it ends; -1: not yet."""
    control, at = text[start], start + 1
    if control == "\x1b":
        while at < len(text) and " " <= text[at] <= "/":
            at += 1
        if at >= len(text):
            return ("", -1) if at - start < LONGEST_CSI else ("", at)
        if at > start + 1 or text[at] not in AFTER_ESC:
            # One that is cut off by another control begins that one.
            return "", at + 1 if "0" <= text[at] <= "~" else at
        control, at = AFTER_ESC[text[at]], at + 1
    if control == CSI:
        return _csi(text, at)
    if control in STRINGS:
        return "", _end_of_string(text, at)
    return (control if control in KEPT else ""), at


def _csi(text: str, begin: int) -> tuple[str, int]:
    at = begin
    while at < len(text) and " " <= text[at] <= "?" and at - begin < LONGEST_CSI:
        at += 1
    if at >= len(text):
        return "", -1
    if not "@" <= text[at] <= "~":
        return "", at  # no such sequence: what comes is looked at by itself
    whole = text[begin : at + 1]
    return (f"\x1b[{whole}" if SGR.fullmatch(whole) else ""), at + 1


def _end_of_string(text: str, begin: int) -> int:
    ended = re.compile(r"\x07|\x9c|\x1b\\|\x18|\x1a").search(text, begin, begin + LONGEST_STRING)
    if ended:
        return ended.end()
    return -1 if len(text) - begin < LONGEST_STRING else begin
