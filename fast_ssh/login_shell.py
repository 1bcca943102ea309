"""Commands in words that every login shell understands, and their output without that shell's own.

An account's shell is its owner's choice: fish and csh have quotes, variables and `if` of their own,
and any may print when it starts.
"""

import base64


def for_any(script: str) -> str:
    """A command line that has `sh` run `script`, whatever shell reads it; stdin is the script's.

    Within single quotes sh, zsh, fish and csh take everything as it is but !, \\, ' and the end of
    a line, and none of these is in it.
    """
    packed = base64.b64encode(script.encode(errors="surrogateescape")).decode()
    return f"exec sh -c 'eval \"$(printf %s {packed} | base64 -d)\"'"


def behind(mark: str, script: str) -> str:
    """The same, behind a mark on both streams: what was printed before it is not the script's."""
    return for_any(f"echo '<{mark}>'; echo '<{mark}>' >&2; {script}")


def ends_with(mark: str, line: bytes) -> bool:
    """Whether the script's own output begins after this line."""
    return line.rstrip(b"\n").endswith(f"<{mark}>".encode())


def began(mark: str, output: bytes) -> bool:
    """Whether the script was run at all."""
    return f"<{mark}>\n".encode() in output


def own(mark: str, output: bytes) -> bytes:
    """What the script printed; all that was said where it never began."""
    before, begun, after = output.partition(f"<{mark}>\n".encode())
    return after if begun else before
