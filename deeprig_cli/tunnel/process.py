"""One `ssh` with its forwarded ports, for as long as its link holds."""

import re
import shlex
import subprocess
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from deeprig.errors import DeeprigError
from deeprig.parsers import untrusted
from deeprig.ssh import as_user, connection, key_pair, openssh
from deeprig.ssh.openssh import Forward
from fast_ssh.login_shell import for_any

OPEN_SECONDS = 30  # a login that takes longer is given up
END_SECONDS = 5
MARK = "deeprig-tunnel-open"
TOKEN, OWNERS = "deeprig-token:", "deeprig-owners:"
# Read as its user, who may have put anything in its place.
READ_TOKEN = 'f=$HOME/.config/deeprig/notebook-token; [ ! -f "$f" ] || head -c 100 "$f"'
TOKEN_SECONDS = 10
# $1 a port, $2 a user: who listens there, by the numbers of their sockets, a slash, the user's own.
# By the kernel's table: beside the number `ss` shows a control group, which its user named.
WHO_LISTENS = """
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v at=":$(printf %04X "$1")" '
$4 == "0A" && substr($2, length($2) - 4) == at { print $8 }' | sort -u | tr '\\n' ' '
echo "/ $(id -u "$2")"
"""
MOST_LINES, LONGEST_LINE = 100, 2000  # of what is said before the login is done
MOST_COMPLAINTS = 65536
TAKEN = "cannot listen to port"
REFUSALS = ("Host key verification failed", "Permission denied", TAKEN)


class SshProcess:
    """Runs until it breaks or is closed. Raises DeeprigError where there is no ssh to run."""

    def __init__(
        self, name: str, data: dict[str, Any], forwards: Sequence[Forward], token_of: str | None
    ) -> None:
        """`token_of` is the user whose notebook's token is wanted, None for no token.

        The first of the forwarded ports is the notebook's.
        """
        # `cat` and not -N: it says that the login is done, and where this program is killed its
        # input ends, which ends `ssh` too. No token is in an argument: it comes with the answer.
        ask = _ask(forwards[0].remote, token_of) if token_of else ""
        self.token = ""
        self.stranger = ""  # why there is no token, in a sentence
        self._name, self._user, self._data = name, token_of, data
        self._complaints = b""
        try:
            self._process = subprocess.Popen(
                openssh.command(name, data, forwards, for_any(f"{ask}echo {MARK}; exec cat")),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # else Ctrl-C would reach it before us
            )
        except FileNotFoundError:
            raise DeeprigError("there is no `ssh` here; install OpenSSH's client.") from None
        # Somebody must read it all the time, for a full pipe stops ssh; the box may say any amount.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := self._process.stderr.read1(4096):  # type: ignore[attr-defined]
            self._complaints = (self._complaints + chunk)[-MOST_COMPLAINTS:]

    def open(self) -> bool:
        """Whether the login is done and the ports are held; `token` is known then."""
        slow = threading.Timer(OPEN_SECONDS, self._process.kill)
        slow.start()
        try:
            assert self._process.stdout is not None
            for _ in range(MOST_LINES):
                line = self._process.stdout.readline(LONGEST_LINE)
                text = line.decode(errors="replace").strip()
                if text.startswith(TOKEN):
                    self._take_token(text.removeprefix(TOKEN))
                if text.startswith(OWNERS):
                    self._look_at(text.removeprefix(OWNERS))
                if text == MARK:
                    return True
                if not line:
                    break
            else:
                self._process.kill()  # it talks, and of nothing that it was asked
            return False
        finally:
            slow.cancel()

    def _take_token(self, said: str) -> None:
        if re.fullmatch(r"[0-9a-f]{64}", said):
            self.token = said
        else:
            self.stranger = (
                f"{self._name} has no token of {self._user}'s that could be one; deploy again, and "
                "look at ~/.config/deeprig/notebook-token there."
            )

    def _look_at(self, said: str) -> None:
        """No token goes to a port that somebody else has."""
        owners, _, own = said.partition("/")
        others = [owner for owner in owners.split() if owner != own.strip()]
        if others or not own.strip().isdigit():
            self.token = ""
            self.stranger = (
                f"the notebook's port on {self._name} is held by user number "
                f"{untrusted.visible(' '.join(others))}, not by {self._user}: no token is shown, "
                "for whoever has the port would get it; `sudo ss -ltnp` there says who it is."
            )

    @property
    def holds(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Until it breaks."""
        self._process.wait()

    def why(self) -> str:
        """What ssh said when it ended, its last line."""
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(END_SECONDS)
        lines = self._complaints.decode(errors="replace").strip().splitlines()
        refused = [line for line in lines if any(text in line for text in REFUSALS)]
        return untrusted.visible((refused or lines or ["it takes too long"])[-1].strip())[:300]

    @property
    def port_taken(self) -> bool:
        return TAKEN in self.why()

    @property
    def refused(self) -> bool:
        """Whether another try would come to the same."""
        return any(text in self.why() for text in REFUSALS)

    def fail(self) -> NoReturn:
        """Raise DeeprigError with why there is no link, and what to do."""
        why = self.why()
        if self.port_taken:
            port = why.rpartition(" ")[2]
            raise DeeprigError(f"another program took port {port} here; start the tunnel anew.")
        if self.refused:
            connection.connect(self._data).close()  # says it in the words of the other verbs
        where = f"{self._data['ssh_hostname']} port {self._data.get('ssh_port') or 22}"
        reason = why.rpartition(": ")[2].rstrip(".")
        if self.refused:
            raise DeeprigError(f"{where} lets deeprig in, and `ssh` does not get in ({reason}); "
                               f"{self._remedy()}.")  # fmt: skip
        raise DeeprigError(f"{where} does not answer ({reason}); is it on, is the cable in?")

    def _remedy(self) -> str:
        """What keeps a key from OpenSSH that deeprig's own login takes."""
        complaints = self._complaints.decode(errors="replace")
        if open_key := re.search(r"Permissions \d+ for '([^'\n]+)' are too open", complaints):
            return key_pair.closing(untrusted.visible(open_key[1]))
        return "`ssh-add` the key, or name its file with box(key=...)"

    def close(self) -> None:
        """End it; nothing of it is left running."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


def _ask(port: int, user: str) -> str:
    """What the deploy user's shell is to run for the token, and for who would get it."""
    read = as_user.script(user, READ_TOKEN, seconds=TOKEN_SECONDS)
    look = shlex.join(["sh", "-c", WHO_LISTENS, "sh", str(port), user])
    token = f"sudo -n {read} 2>/dev/null | tr -cd 0-9a-f"  # else its lines could be taken for ours
    return f'echo "{TOKEN}$({token})"; echo "{OWNERS}$({look} 2>/dev/null)"; '
