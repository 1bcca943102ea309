"""The wait for a box that is being woken: packets until SSH answers, then a real login."""

import time
from collections.abc import Callable
from typing import Any

from deeprig.ssh import probe
from deeprig.ssh.probe import Reachability
from deeprig.ui.progress import Progress

# Every try that ends without a login counts against this machine (sshd's PerSourcePenalties).
LOOK_AGAIN_SECONDS = 3
LOG_IN_AGAIN_SECONDS = 10
SEND_AGAIN_SECONDS = 30
# Nobody is let in until a boot is done; a key that is wrong stays wrong.
REFUSED_SECONDS = 120


class Waking:
    """How far it has come; `bursts` counts how often packets were sent, `why` is what lacks."""

    def __init__(self, data: dict[str, Any], progress: Progress) -> None:
        self.data, self.progress = data, progress
        self.bursts = 0
        self.seconds = 0.0
        self.seen = Reachability.NOTHING
        self.why = ""

    def is_awake(self) -> bool:
        """Whether a login works, now. Raises DeeprigError where somebody else answers."""
        self.seen = probe.probe(self.data)
        self.why = self.seen.value
        if self.seen is Reachability.OPEN:
            self.why = probe.why_no_login(self.data)
        return not self.why

    def wait(self, send: Callable[[], None], seconds: float) -> bool:
        """Whether a login works within `seconds`, or before SSH has refused for long."""
        started = time.monotonic()
        sent = refused = float("-inf")
        while True:
            now = time.monotonic()
            # Also where a port is closed: a management engine may answer for a box that is off.
            if self.seen is not Reachability.OPEN and now - sent >= SEND_AGAIN_SECONDS:
                send()
                sent, self.bursts = now, self.bursts + 1
            self.progress.doing(f"waiting for SSH: {self.why}")
            time.sleep(self._pause(started + seconds))
            awake = self.is_awake()
            self.seconds = time.monotonic() - started
            if self.seen is not Reachability.OPEN:
                refused = float("-inf")
            elif refused < 0:
                refused = time.monotonic()
            too_long = 0 < refused < time.monotonic() - REFUSED_SECONDS
            if awake or too_long or self.seconds >= seconds:
                return awake

    def _pause(self, end: float) -> float:
        pause = LOG_IN_AGAIN_SECONDS if self.seen is Reachability.OPEN else LOOK_AGAIN_SECONDS
        return max(0.0, min(pause, end - time.monotonic()))
