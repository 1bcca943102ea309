"""A job's window: runs it on a terminal of its own, keeps the log, and writes how it ended.

Called with the job's name by tmux, as the work user. The job is in a systemd scope of its own and
this is not, so that its end is known even where the kernel killed all of it for lack of memory.
"""

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path

from deeprig_box.jobs.records import KEPT_LOG_BYTES, Job
from deeprig_box.lib import bounded

SCOPE = ["systemd-run", "--user", "--scope", "--quiet", "--collect"]
STOP_SECONDS = 20  # for a training to write its checkpoint after SIGTERM
DRAIN_SECONDS = 1.0
# For what a login shell reads before the command: a slow box with conda took 20.
BEGIN_SECONDS = 60
PROFILES = (".bash_profile", ".bash_login", ".profile")  # bash reads the first of them


class Log:
    """At most two files: when one is full it is kept beside a new one."""

    def __init__(self, job: Job) -> None:
        self.path = job.log
        self.file = self.path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        if self.file.tell() > KEPT_LOG_BYTES:
            self.path.replace(self.path.with_name("log.1"))
            self.file = self.path.open("ab", buffering=0)
        self.file.write(data)


def run(job: Job) -> None:
    """In the child: become the job."""
    # Lines in the log end as in a file; the window's own terminal adds what it needs.
    modes = termios.tcgetattr(1)
    modes[1] &= ~termios.ONLCR
    termios.tcsetattr(1, termios.TCSANOW, modes)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    stop = f"--property=TimeoutStopSec={STOP_SECONDS}"
    words = [*SCOPE, f"--unit={job.unit}", stop, "bash", "-l", str(job.folder / "command")]
    os.execvp(words[0], words)


def same_size(terminal: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def raw() -> None:
    """Every key is for the job; what it writes still gets its carriage returns."""
    with contextlib.suppress(termios.error):
        tty.setraw(0)
        modes = termios.tcgetattr(0)
        modes[1] |= termios.OPOST | termios.ONLCR
        termios.tcsetattr(0, termios.TCSANOW, modes)


def relay(terminal: int, child: int, log: Log, job: Job) -> int:
    """Both ways until the job ends; its wait status. One that does not begin is ended."""
    sources, until = [terminal, 0], 0.0
    status = None
    late = time.monotonic() + BEGIN_SECONDS
    while status is None or time.monotonic() < until:
        ready = select.select(sources, [], [], 0.2)[0]
        if terminal in ready and not from_job(terminal, log):
            sources.remove(terminal)
            until = 0.0
        if 0 in ready and not to_job(terminal):
            sources.remove(0)
        if late and time.monotonic() > late:
            late = 0.0
            if not job.begun.exists():  # a shell that was started in its place minds no SIGTERM
                subprocess.Popen(["systemctl", "--user", "kill", "--signal=KILL", job.unit])
        if status is None:
            number, waited = os.waitpid(child, os.WNOHANG)
            if number:
                # What it left in the terminal; a child of its own may hold that open for ever.
                status, until = waited, time.monotonic() + DRAIN_SECONDS
                if terminal not in sources:
                    until = 0.0
    return status


def from_job(terminal: int, log: Log) -> bool:
    try:
        data = os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # how a terminal says that nobody has it any more
            raise
        return False
    log.write(data)
    with contextlib.suppress(OSError):  # the window may be gone
        os.write(1, data)
    return bool(data)


def to_job(terminal: int) -> bool:
    try:
        data = os.read(0, 4096)
        os.write(terminal, data)
    except OSError:
        return False
    return bool(data)


def main() -> None:
    job, closed = Job(sys.argv[1]), []
    job.write("window.json", {"pid": os.getpid()})
    stop = ["systemctl", "--user", "stop", job.unit]

    def close(*_: object) -> None:
        closed.append(True)
        subprocess.Popen([*stop, "--no-block"])

    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, close)
    raw()
    child, terminal = pty.fork()
    if child == 0:
        run(job)
    same_size(terminal)
    signal.signal(signal.SIGWINCH, lambda *_: same_size(terminal))
    log = Log(job)
    ended = os.waitstatus_to_exitcode(relay(terminal, child, log, job))
    code: int | None = ended if ended >= 0 else 128 - ended
    bounded.run(stop, seconds=bounded.LONG)  # what it left running ends with it
    stopped = closed or job.read("stopping.json")
    how = "stopped" if stopped else ("failed" if code else "done")
    if how != "stopped" and not job.begun.exists():
        log.write(f"\n{never_began()}\n".encode())
        how, code = "failed", None
    job.write("end.json", {"status": code, "how": how, "at": time.time()})


def never_began() -> str:
    """Why, by the files that come before a command."""
    own = next((name for name in PROFILES if (Path.home() / name).exists()), None)
    files = f"/etc/profile{f' or ~/{own}' if own else ''}, or a file that it reads,"
    return (
        f"the command never began: {files} ended the login shell, or put another program in its "
        "place (exec)"
    )
