"""QEMU's monitor: keys pressed, and what becomes of the machine."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import fail


class Monitor:
    """One conversation in QEMU's machine protocol, QMP."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lines = connection.makefile("r", encoding="utf-8")
        self.events: list[str] = []

    def tell(self, command: str, **arguments: Any) -> Any:
        """QEMU's answer. Raises DeeprigError where it refuses."""
        words = {"execute": command, "arguments": arguments}
        self.connection.sendall(json.dumps(words).encode() + b"\n")
        while True:
            answer = self._hear()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                fail(f"QEMU refuses {command}: {answer['error']['desc']}.")

    def wait_for(self, event: str, seconds: float) -> bool:
        """Whether the event came, or had come, within the time."""
        limit = time.monotonic() + seconds
        while event not in self.events:
            self.connection.settimeout(max(0.01, limit - time.monotonic()))
            try:
                self._hear()
            except (TimeoutError, EOFError):
                return event in self.events
        return True

    def _hear(self) -> dict[str, Any]:
        line = self.lines.readline()
        if not line:
            raise EOFError("QEMU has ended")
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append(message["event"])
        return message


@contextmanager
def connected(place: Path) -> Iterator[Monitor]:
    """A conversation with the QEMU that listens at `place`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place))
        monitor = Monitor(connection)
        monitor.tell("qmp_capabilities")
        yield monitor
