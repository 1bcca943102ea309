"""Start the notebook's tmux session, or say how it stands; root runs it.

`state` prints "ok", or what is owed and what a restart would interrupt; it waits for a session that
was just started. `start [--even-busy]` brings it about: exit status 0 when both servers answer or
the restart is left for later, 1 after one line on stderr that says what is wrong. `work` prints
what a restart would interrupt. `free` fails where somebody else has a port.
Whatever is the user's is looked at by programs that run as the user, with a limit on time.
"""

import math
import pwd
import socket
import sys
import time
from typing import NamedTuple

from deeprig_box.lib import as_user, bounded, place
from deeprig_box.lib.proc import visible
from deeprig_box.lib.standing import LATER, OK, OWED, Standing
from deeprig_box.notebook.processes import UNIT, WINDOW, servers, settings, stranger

# A first start reads thousands of files; on an emulated processor it took more than 90 s.
READY_SECONDS = 300
MANAGER = place.script("user-manager")
KERNELS = place.command("notebook-kernels")
NO_WORD = "a notebook that gives no word"
HICCUP_SECONDS = 15
# A session this young is still coming up where nobody answers; after a boot they take their time.
COMING_UP_SECONDS = 120
ASK_SECONDS, RESTART_SECONDS = 100, 150
MOST_BYTES = 4096
LONGEST_LINE = 200
ANSWERED = "200"
CONF = settings()
USER = pwd.getpwnam(CONF["user"])


class Server(NamedTuple):
    name: str
    setting: str
    path: str

    @property
    def port(self) -> int:
        return int(CONF[self.setting])

    @property
    def strangers(self) -> str:
        return stranger(self.port, USER.pw_uid)


SERVERS = (Server("JupyterLab", "port", "/api"), Server("TensorBoard", "tensorboard_port", "/"))


def ask(*argv: str, seconds: float = ASK_SECONDS) -> as_user.Done:
    """Run a program as the work user; nothing is done to a notebook that cannot be asked."""
    try:
        return as_user.run(USER, argv, seconds=seconds, most=MOST_BYTES)
    except as_user.Wrong as wrong:
        sys.exit(f"{USER.pw_name}'s notebook gives no word: {wrong}.")


def status(server: Server) -> str:
    """The HTTP status that our own server answers with on its port; empty where there is none."""
    if not servers(server.port, USER.pw_uid):
        return ""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
            link.sendall(f"GET {server.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            while len(answer) < LONGEST_LINE and b"\n" not in answer and (more := link.recv(64)):
                answer += more
    except OSError:
        return ""
    words = answer.decode(errors="replace").split()
    return visible(words[1]) if words[1:] and words[0].startswith("HTTP/") else ""


def trouble(server: Server) -> str:
    """What is wrong with a server, in words; empty where it answers as it should."""
    answer = status(server)
    if answer == ANSWERED and server.path == "/api":
        answer = visible(ask(*KERNELS, "status").text.strip()[:200])  # to who has the token
    if answer == ANSWERED:
        return ""
    if not answer:
        return f"{server.name} does not answer on port {server.port}"
    return (
        f"{server.name} answers on port {server.port} with {answer} in place of 200; look at "
        f"{USER.pw_name}'s ~/.jupyter"
    )


def standing() -> dict[str, str]:
    """How the unit stands, in the user's own words."""
    lines = ask(WINDOW, "standing").text
    return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)


def why_a_restart(unit: dict[str, str]) -> list[str]:
    """What only a restart mends."""
    if unit.get("ActiveState") != "active":
        return ["it does not run"]
    if unit.get("NeedDaemonReload") == "yes" or unit.get("Settings") != "present":
        return ["it runs with old settings"]
    if unit.get("UnitFileState") != "enabled":
        return ["it would not start at boot"]
    return []


def age(unit: dict[str, str]) -> float:
    """Seconds since the session was started; without end where nobody can say."""
    started = unit.get("Started", "")
    return time.time() - int(started) if started.isdecimal() and len(started) < 12 else math.inf


def silent() -> list[str]:
    return [sentence for server in SERVERS if (sentence := trouble(server))]


def silent_for_good(unit: dict[str, str]) -> list[str]:
    """Who does not answer; a session that was just started is given some time."""
    left = COMING_UP_SECONDS - age(unit)
    until = time.monotonic() + min(left, COMING_UP_SECONDS)  # a clock may be set back
    while (sentences := silent()) and time.monotonic() < until:
        if any(server.strangers for server in SERVERS):
            break
        time.sleep(0.2)
    return sentences


def work() -> str:
    """What a restart would interrupt, in words; empty if nothing."""
    answer = ask(*KERNELS)
    words = visible(answer.text.strip()[:500])
    return words if answer.code == 0 else NO_WORD


def state() -> str:
    unit = standing()
    owed = why_a_restart(unit)
    if not owed:
        return "; ".join(silent_for_good(unit)) or "ok"
    doing = work()
    return f"{owed[0]}{f'; busy: {doing}' if doing else ''}"


def refuse_taken_ports() -> None:
    for server in SERVERS:
        if who := server.strangers:
            sys.exit(
                f"Port {server.port} is taken by {who}, so {server.name} cannot have it; "
                f"stop that, or set Notebook({server.setting}=...) to another port."
            )


def wait(seconds: int) -> bool:
    """Wait until both answer; say every few seconds who does not."""
    started, last_word = time.monotonic(), 0.0
    while waiting := silent():
        now = time.monotonic() - started
        if now > seconds:
            return False
        if now - last_word > 5:
            refuse_taken_ports()
            print(f"{', '.join(waiting)}; {now:.0f} s so far", flush=True)
            last_word = now
        time.sleep(0.2)
    return True


def restart() -> None:
    """A home that cannot be written to is said at once, by its name."""
    prepared = ask(WINDOW, "prepare")
    if prepared.code:
        words = prepared.err.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
        sys.exit(f"{USER.pw_name}'s notebook cannot start: {visible(words[-1])}")
    for command in (["daemon-reload"], ["restart", UNIT]):
        done = ask("systemctl", "--user", *command, seconds=RESTART_SECONDS)
        if done.code:
            why = " ".join(done.err.decode(errors="replace").split())
            sys.exit(visible(why) or "systemd --user gave no reason")


def start(even_busy: bool) -> None:
    refuse_taken_ports()
    manager = bounded.run([MANAGER, USER.pw_name])
    if manager.code:
        sys.exit(manager.last_words)
    if not why_a_restart(standing()) and wait(HICCUP_SECONDS):
        return
    if not even_busy and (doing := work()):
        print(f"The restart is left for later: {doing}; the next run does it.")
        return
    enabled = bounded.run(["systemctl", "--global", "--quiet", "enable", UNIT])
    if enabled.code:
        sys.exit(f"{UNIT} cannot be enabled: {enabled.last_words}.")
    restart()
    if not wait(READY_SECONDS):
        log = "~/.local/state/deeprig/{jupyter,tensorboard}.log"
        sys.exit(f"{'; '.join(silent())} after {READY_SECONDS} s; see {USER.pw_name}'s {log}.")


def check(words: list[str]) -> Standing:
    standing_now = state()
    doing = standing_now.partition("; busy: ")[2]
    if doing and "--even-busy" not in words:
        sentence = f"The restart is left for later: {doing}; the next run does it."
        return Standing(LATER, sentence)
    return Standing(OK) if standing_now == "ok" else Standing(OWED, standing_now)


def apply(words: list[str]) -> None:
    start(even_busy="--even-busy" in words)


def main() -> None:
    words = sys.argv[1:]
    if words == ["state"]:
        print(state())
    elif words == ["work"]:
        print(work())
    elif words == ["free"]:
        refuse_taken_ports()
    elif words[:1] == ["start"]:
        start(even_busy="--even-busy" in words)
    else:
        sys.exit("usage: notebook-server state | work | free | start [--even-busy]")
