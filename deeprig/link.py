"""One `ssh` with its forwarded ports, for as long as its link holds."""

import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from deeprig import connection, openssh
from deeprig.errors import DeeprigError
from deeprig.openssh import Forward

OPEN_SECONDS = 30  # a login that takes longer is given up
END_SECONDS = 5
MARK = "deeprig-tunnel-open"
TOKEN = "deeprig-token:"
TAKEN = "cannot listen to port"
REFUSALS = ("Host key verification failed", "Permission denied", TAKEN)


class Link:
    """Runs until it breaks or is closed. Raises DeeprigError where there is no ssh to run."""

    def __init__(
        self, name: str, data: dict[str, Any], forwards: Sequence[Forward], token_of: str | None
    ) -> None:
        """`token_of` is the user whose notebook's token is wanted, None for no token."""
        # `cat` and not -N: it says that the login is done, and where this program is killed its
        # input ends, which ends `ssh` too. No token is in an argument: it comes with the answer.
        file = f"~{token_of}/.config/deeprig/notebook-token"
        ask = f'echo "{TOKEN}$(sudo -n cat {file} 2>/dev/null)"; ' if token_of else ""
        self.token = ""
        self._data = data
        # A file, since nobody reads a pipe while the tunnel runs, and a full one stops ssh.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                openssh.command(name, data, forwards, f"{ask}echo {MARK}; exec cat"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,  # else Ctrl-C would reach it before us
            )
        except FileNotFoundError:
            raise DeeprigError("there is no `ssh` here; install OpenSSH's client.") from None

    def open(self) -> bool:
        """Whether the login is done and the ports are held; `token` is known then."""
        slow = threading.Timer(OPEN_SECONDS, self._process.kill)
        slow.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                said = line.decode(errors="replace").strip()
                if said.startswith(TOKEN):
                    self.token = said.removeprefix(TOKEN)
                if said == MARK:
                    return True
            return False
        finally:
            slow.cancel()

    @property
    def holds(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Until it breaks."""
        self._process.wait()

    def why(self) -> str:
        """What ssh said when it ended, its last line."""
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        refused = [line for line in lines if any(text in line for text in REFUSALS)]
        return (refused or lines or ["it takes too long"])[-1].strip()

    @property
    def port_taken(self) -> bool:
        return TAKEN in self.why()

    @property
    def refused(self) -> bool:
        """Whether another try would come to the same."""
        return any(text in self.why() for text in REFUSALS)

    def fail(self) -> NoReturn:
        """Raise DeeprigError with why there is no link, and what to do."""
        said = self.why()
        if self.port_taken:
            port = said.rpartition(" ")[2]
            raise DeeprigError(f"another program took port {port} here; start the tunnel anew.")
        if self.refused:
            connection.connect(self._data).close()  # says it in the words of the other verbs
        where = f"{self._data['ssh_hostname']} port {self._data.get('ssh_port') or 22}"
        reason = said.rpartition(": ")[2].rstrip(".")
        raise DeeprigError(f"{where} does not answer ({reason}); is it on, is the cable in?")

    def close(self) -> None:
        """End it; nothing of it is left running."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            if pipe:
                pipe.close()
