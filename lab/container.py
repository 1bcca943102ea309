"""A container's switches: power on, power cut, reboot, and how to see whether it is up."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from lab import cgroups
from lab.errors import fail

# 127.0.0.1 and ::1 as /proc/net/tcp and tcp6 write them.
LOOPBACK = ("0100007F", "00000000000000000000000001000000")
# A supervisor that is not there by then died at once.
SECONDS_TO_START = 5
# Container managers ask systemd for a reboot by this signal to its process 1; see systemd(1).
REBOOT_SIGNAL = signal.SIGRTMIN + 5


def running(name: str) -> bool:
    """Whether the box is powered on; false too for what a killed supervisor left behind."""
    return cgroups.alive(name, "supervisor")


def power_on(name: str, *, image: Path, folder: Path, address: str) -> None:
    """Start the box, detached from this process; what is left of an earlier run is removed."""
    cgroups.kill(name)
    for part in ("upper", "work", "root", "data-disk"):
        (folder / part).mkdir(exist_ok=True)
    supervisor = [sys.executable, "-m", "lab.supervisor", name, str(image), str(folder), address]
    # "slave": the box's mounts stay its own, but it lets go of ours when we unmount them.
    detached = ["setsid", "--fork", "unshare", "--mount", "--propagation=slave"]
    with (folder / "console.log").open("a") as console:
        subprocess.run(
            [*detached, *supervisor],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            check=True,
        )


def cut(name: str) -> None:
    """The power fails: all of the box dies in one moment, unwarned."""
    cgroups.kill(name)


def ask_to_reboot(name: str) -> None:
    """What `systemctl reboot` inside the box does."""
    os.kill(host_pid(name, 1), REBOOT_SIGNAL)


def host_pid(name: str, guest_pid: int) -> int:
    """This machine's id of the process that has `guest_pid` in the box."""
    process = _find(name, guest_pid)
    if process is None:
        fail(f"box {name} has no process {guest_pid}.")
    return process


def boot_id(name: str) -> str:
    """Another one after each boot; empty while there is no system to ask."""
    init = _find(name, 1)
    with suppress(OSError):
        return Path(f"/proc/{init}/root/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def wait_for_login(
    name: str, address: str, *, console: Path, not_boot: str = "", seconds: float = 60
) -> None:
    """Return when SSH answers and lets users in, in another boot than `not_boot`.

    Raises DeeprigError where the box goes off, or does not answer within `seconds`.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        if waited > SECONDS_TO_START and not running(name):
            last = console.read_text(errors="replace").split("\n")[-2:]
            fail(f"box {name} is off again; {console} ends with {' '.join(last).strip()!r}.")
        if boot_id(name) not in ("", not_boot) and _lets_users_in(name, address):
            return
        time.sleep(0.05)
    fail(f"box {name} does not answer SSH at {address} after {seconds:.0f} s; see {console}.")


def answers(address: str, port: int, greeting_seconds: float = 1) -> bool:
    """Whether a port shows SSH's greeting."""
    with suppress(OSError), socket.create_connection((address, port), timeout=1) as door:
        door.settimeout(greeting_seconds)
        return door.recv(4) == b"SSH-"
    return False


def _find(name: str, guest_pid: int) -> int | None:
    for pid in cgroups.pids(name, "machine"):
        with suppress(OSError):  # it may end while we look
            status = Path(f"/proc/{pid}/status").read_text()
            ids = status.partition("NSpid:")[2].partition("\n")[0].split()
            if len(ids) > 1 and int(ids[-1]) == guest_pid:
                return pid
    return None


def ssh_port(name: str, address: str) -> int | None:
    """The port at which the box shows SSH's greeting, 22 or another; None where there is none."""
    return next((port for port in _doors(name) if answers(address, port)), None)


def only_door(name: str) -> int | None:
    """The one port that is open; None for none or several. Nobody knocks: sshd counts who does and
    says no more, and shuts them out for a while.
    """
    doors = _doors(name)
    return doors[0] if len(doors) == 1 else None


def _lets_users_in(name: str, address: str) -> bool:
    """Whether systemd allows logins already, and SSH answers."""
    try:
        booting = Path(f"/proc/{_find(name, 1)}/root/run/nologin").exists()
    except OSError:
        return False
    return not booting and ssh_port(name, address) is not None


def _doors(name: str) -> list[int]:
    with suppress(OSError):
        return _open_ports(Path(f"/proc/{_find(name, 1)}"))
    return []


def _open_ports(process: Path) -> list[int]:
    """The TCP ports a process's network listens at, other than on loopback; see proc(5)."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (process / "net" / table).read_text().splitlines()[1:]
    ]
    doors = [row[1].split(":") for row in rows if row[3] == "0A"]
    return sorted({int(port, 16) for address, port in doors if address not in LOOPBACK})
