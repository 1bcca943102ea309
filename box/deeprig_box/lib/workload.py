"""What a reboot would end: work on GPUs, jobs, notebooks, guests, and people who are logged in.

Reads only.
"""

import fcntl
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deeprig_box.lib import bounded, proc
from deeprig_box.lib.proc import visible

NOTEBOOK = Path("/etc/deeprig/notebook.conf")
# Where the first is not there yet: a box whose last deploy was by 0.1.0 as of November 2026.
NOTEBOOK_SERVERS = (
    ["/usr/local/lib/deeprig/current/deeprig-box", "notebook-server"],
    ["/usr/local/lib/deeprig/notebook-server"],
)
DPKG_LOCK = Path("/var/lib/dpkg/lock-frontend")
# They have the cards open all the time, and come back by themselves.
CARD_KEEPERS = {"nvidia-persiste", "nv-fabricmanage", "nv-hostengine"}  # 15 letters, as in /proc
# What a login brings, and leaves behind.
NO_WORK = {
    "(sd-pam)", "dbus-broker", "dbus-daemon", "dirmngr", "gpg-agent", "login", "ssh-agent", "sshd",
    "sshd-auth", "sshd-session", "systemd",
}  # fmt: skip
JOB = re.compile(r"/deeprig-job-([A-Za-z0-9_-]+)\.scope(/|$)")
TIMED = re.compile(r"^/system\.slice/(?:cron|atd)\.service(/|$)")
OURS = re.compile(r"/deeprig-[^/]*\.service(/|$)")
# libvirt's and systemd-machined's scopes; a name in them is escaped as in units' names.
MACHINE = re.compile(
    r"^/machine\.slice/(?:machine-|systemd-nspawn@)(.+?)\.(?:scope|service)(?:/|$)"
)
GUEST = re.compile(r"^qemu-\d+-(.+)$")
QEMU = re.compile(r"qemu-system-.*|kvm")
CONTAINER = re.compile(r"/(?:docker|libpod)-([0-9a-f]{12})[0-9a-f]*\.scope")


class Process(NamedTuple):
    pid: int
    name: str
    user: str
    group: str

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


def processes() -> list[Process]:
    """All that run; those that end meanwhile are left out."""
    running = []
    for place in proc.every():
        with suppress(OSError):
            name = visible((place / "comm").read_text(errors="replace").strip())
            running.append(Process(int(place.name), name, user(place.stat().st_uid), group(place)))
    return running


def user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group(place: Path) -> str:
    """The process's control group, /user.slice/user-1000.slice/session-3.scope for one."""
    lines = (place / "cgroup").read_text().splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def on_a_card(there: list[Process]) -> list[str]:
    """Those that have one of NVIDIA's devices open; a job's are named by the job."""
    others = (p for p in there if p.name not in CARD_KEEPERS and not JOB.search(p.group))
    return once(p for p in others if any(cards(p.pid)))


def jobs(there: list[Process]) -> list[str]:
    """Those of `deeprig run`."""
    matches = ((JOB.search(process.group), process) for process in there)
    return sorted({f"job {match[1]} of {process.user}" for match, process in matches if match})


def cards(pid: int) -> list[str]:
    files = proc.leads_to(proc.open_files(pid))
    return [path for path in files if path.startswith("/dev/nvidia")]


def of_people(there: list[Process], own: str) -> list[str]:
    """What runs in logins, user services other than our own, and for people by cron and at; a bare
    tunnel is no work.
    """
    return once(p for p in there if is_of_people(p, own))


def is_of_people(process: Process, own: str) -> bool:
    timed = TIMED.search(process.group) and process.user != "root"
    if not (process.group.startswith("/user.slice/") or timed) or process.name in NO_WORK:
        return False
    ours = OURS.search(process.group) or JOB.search(process.group)
    return process.group != own and not ours


def in_containers(there: list[Process]) -> list[str]:
    matches = filter(None, (CONTAINER.search(process.group) for process in there))
    return [f"container {name}" for name in sorted({match[1] for match in matches})]


def in_guests(there: list[Process]) -> list[str]:
    """Virtual machines and system containers: libvirt's, systemd's, and a service's own QEMU."""
    names = set()
    for process in there:
        if machine := MACHINE.search(process.group):
            name = re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), machine[1])
            name = visible(name)
            guest = GUEST.match(name)
            names.add(f"guest {guest[1]}" if guest else f"machine {name}")
        elif QEMU.fullmatch(process.name) and not process.group.startswith("/user.slice/"):
            names.add(str(process))  # of people it is told anyway
    return sorted(names)


def started_from(there: list[Process], folder: str) -> list[str]:
    """Those whose program, or the script they were given, is below this folder."""
    running = []
    for process in there:
        try:
            # It cannot hang: no kernel since 4.17 reads it from a file system (CVE-2018-1120).
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(word.startswith(folder) for word in words.split("\0")[:3]):
            running.append(process)
    return once(running)


def once(found: Iterable[Process]) -> list[str]:
    return sorted({str(process) for process in found})


def in_notebooks() -> list[str]:
    if not NOTEBOOK.exists():
        return []
    server = next((s for s in NOTEBOOK_SERVERS if Path(s[0]).exists()), NOTEBOOK_SERVERS[0])
    answer = bounded.run([*server, "work"])
    sentence = answer.out.strip() if answer.code == 0 else "a notebook server that gives no word"
    return [sentence] if sentence else []


def dpkg() -> list[str]:
    """Whether packages are being installed just now."""
    if not DPKG_LOCK.exists():
        return []
    with DPKG_LOCK.open("r+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ["apt or dpkg"]
    return []


def all_of_it() -> dict[str, list[str]]:
    """`work`, which nothing may interrupt, and `people`, who may be there for other reasons."""
    running, own = processes(), group(Path("/proc/self"))
    return {
        "work": [
            *on_a_card(running),
            *jobs(running),
            *in_notebooks(),
            *in_guests(running),
            *dpkg(),
        ],
        "people": [*of_people(running, own), *in_containers(running)],
    }
