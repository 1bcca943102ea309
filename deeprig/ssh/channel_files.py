"""What a box prints, line by line over plain SSH: bytes that are no UTF-8 end nobody's run."""

from typing import Any

import paramiko


class _Lines(paramiko.ChannelFile):
    """paramiko's own decodes strictly, deep in pyinfra, where it ends in a traceback."""

    _flags: int  # of paramiko, which carries no such type

    def readline(self, size: int | None = None) -> Any:
        as_text = not self._flags & self.FLAG_BINARY
        self._flags |= self.FLAG_BINARY
        try:
            line = super().readline(size)
        finally:
            self._flags ^= self.FLAG_BINARY if as_text else 0
        return line.decode(errors="replace") if as_text else line


class _ErrorLines(_Lines, paramiko.channel.ChannelStderrFile):
    pass


def lenient(channel: paramiko.Channel) -> paramiko.Channel:
    """The same channel, whose files have a replacement character for what is no UTF-8."""
    channel.makefile = lambda *how: _Lines(channel, *how)  # type: ignore[method-assign]
    channel.makefile_stderr = lambda *how: _ErrorLines(channel, *how)  # type: ignore[method-assign]
    return channel
