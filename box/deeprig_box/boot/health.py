"""Whether a boot is good: up as far as the box can see, reached by somebody, at work.

Reads only.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from deeprig_box.lib import bounded, proc, workload
from deeprig_box.lib.programs import run

# Up to OpenSSH 9.7, and since: who lets people in, and so writes that down.
SSHD = ("/usr/sbin/sshd", "/usr/lib/openssh/sshd-session")
LISTEN = "0A"


def is_up() -> bool:
    """As far as the box itself can see: started, with a way out, and with sshd at its door."""
    return _active("multi-user.target") and _has_a_way_out() and sshd_listens()


def _has_a_way_out() -> bool:
    """By IPv4, or on a box that has IPv6 alone by that; `unreachable default ...` is none."""
    return any(
        bounded.run(["ip", family, "route", "show", "default"]).out.startswith("default")
        for family in ("-4", "-6")
    )


def sshd_listens() -> bool:
    """By the program that root runs, or by systemd for it: anybody's may have that name."""
    return _active("ssh.socket") or any(_listeners(name) for name in _sshds())


def _sshds() -> Iterator[Path]:
    for place in proc.every():
        with contextlib.suppress(OSError):  # it ended meanwhile
            program = str((place / "exe").readlink()).removesuffix(" (deleted)")
            if program == SSHD[0] and place.stat().st_uid == 0:
                yield place


def _listeners(process: Path) -> set[str]:
    """Which of root's listening sockets it has open."""
    tables = [proc.PROC / "net" / name for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists()
            for line in table.read_text().splitlines()[1:]]  # fmt: skip
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == LISTEN and row[7] == "0"}
    return sockets & set(proc.leads_to(proc.open_files(int(process.name))))


def _active(unit: str) -> bool:
    return bounded.run(["systemctl", "is-active", "-q", unit]).code == 0


def logins() -> bool:
    """Whether sshd has let somebody in since this boot.

    Anybody may write a line in sshd's name; these fields are the journal's own word on the writer.
    """
    journal = run(
        "journalctl", "--boot", "--quiet", "--output=json", "--output-fields=MESSAGE",
        "_UID=0", *(f"_COMM={Path(program).name}" for program in SSHD),
        *(f"_EXE={program}" for program in SSHD),
    )  # fmt: skip
    messages = (json.loads(line).get("MESSAGE") for line in journal.splitlines())
    return any(isinstance(text, str) and text.startswith("Accepted ") for text in messages)


def anybody() -> bool:
    """Whether somebody is at its console, or came in by another way than sshd, or apt is at work.

    What starts by itself in each boot, somebody's job by cron or a container, keeps no box in a
    boot that nobody can reach.
    """
    return any(map(_came_in, _sessions())) or bool(workload.dpkg())


def _came_in(session: dict[str, str]) -> bool:
    """Sessions of `su` and cron are begun by what runs there; these are not."""
    at_it = (
        session.get("Remote") == "yes" or session.get("Seat") or session.get("Service") == "login"
    )
    return session.get("Class", "").startswith("user") and bool(at_it)  # root's is user-early


def _sessions() -> list[dict[str, str]]:
    lines = run("loginctl", "list-sessions", "--no-legend").splitlines()
    numbers = [line.split()[0] for line in lines if line.strip()]
    properties = [word for name in ("Class", "Remote", "Seat", "Service") for word in ("-p", name)]
    output = run("loginctl", "show-session", *properties, *numbers) if numbers else ""
    blocks = [block.splitlines() for block in output.split("\n\n")]
    return [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks]
