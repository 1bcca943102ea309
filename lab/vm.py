"""A VM's switches: power on, power cut, reboot, and how to see whether it is up."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lab import accelerator, box_disk, cgroups, console, container, firmware, monitor, network, qemu
from lab.box import Box
from lab.errors import fail

# Without KVM it takes a minute or so of a processor that others may want as well.
SECONDS_TO_BOOT = 1200
SECONDS_TO_GO_DOWN = 120
# Each knock has sshd start a process. Who gives up early and knocks again keeps a slow box so busy
# that it never answers.
SECONDS_TO_GREET = 60
# A QEMU that is not there by then died at once.
SECONDS_TO_START = 2
# Written before each power-on; the firmware writes a line at each boot, a reboot's too.
POWER_ON = "--- power on ---"
BOOT_SIGNS = (POWER_ON, "BdsDxe: ")
# The kernel's own console gets a login prompt when users are let in; see getty@.service.
PROMPT = "login: "
VARIABLES, MONITOR, COMPLAINTS = "firmware-variables.fd", "monitor", "qemu.log"


def power_on(box: Box, say: Callable[[str], None]) -> None:
    """Start the box, detached from this process; what is left of an earlier run is removed."""
    cut(box)
    machine = qemu.Machine(
        name=box.name,
        hardware=box.hardware,
        accelerator=accelerator.choose(Path(box.image), say),
        firmware=firmware.find(secure_boot=box.hardware.secure_boot),
        variables=box.folder / VARIABLES,
        disks=box_disk.files(box),
        console=box.console,
        monitor=box.folder / MONITOR,
        cable=network.lay_cable(box.host),
        mac=network.mac(box.host),
    )
    with box.console.open("a") as log:
        log.write(f"\n{POWER_ON}\n")
    _start(box, qemu.command(machine))


def cut(box: Box) -> None:
    """The power fails: what the box had not flushed to its disks is lost."""
    cgroups.kill(box.name)
    network.take_cable(box.host)
    (box.folder / MONITOR).unlink(missing_ok=True)


def fresh_variables(box: Box) -> None:
    """The firmware's memory as a new board has it."""
    new = firmware.find(secure_boot=box.hardware.secure_boot).variables
    shutil.copyfile(new, box.folder / VARIABLES)


def reboot(box: Box) -> None:
    """Ctrl-Alt-Del, which systemd takes as `systemctl reboot`; back when the system is down.

    Raises DeeprigError where it does not go down.
    """
    keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
    with monitor.connected(box.folder / MONITOR) as qmp:
        qmp.tell("send-key", keys=keys)
        if not qmp.wait_for("RESET", SECONDS_TO_GO_DOWN):
            fail(f"{box.name} did not go down within {SECONDS_TO_GO_DOWN} s; {_log_end(box)}")


def wait_for_login(box: Box, *, seconds: float = SECONDS_TO_BOOT) -> None:
    """Return when the box shows its login prompt and SSH answers.

    Raises DeeprigError with the console's last lines where its boot cannot come up or does not
    within `seconds`.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        since = console.last(box.console, BOOT_SIGNS)
        if PROMPT in console.text(box.console, since) and ssh_port(box) is not None:
            return
        if waited > SECONDS_TO_START and not box.running:
            fail(f"{box.name} is off again; QEMU says {_complaint(box)!r}; {_log_end(box)}")
        if why := console.dead_end(box.console, since):
            fail(f"{box.name} does not come up: {why}; {_log_end(box)}")
        time.sleep(0.5)
    fail(f"{box.name} does not answer SSH at {box.host} after {seconds:.0f} s; {_log_end(box)}")


def ssh_port(box: Box) -> int | None:
    """The port that shows SSH's greeting: 22, or one that a deploy has moved it to."""
    for port in (box.port, *known_ports(box.known_hosts)):
        if container.answers(box.host, port, SECONDS_TO_GREET):
            return port
    return None


def known_ports(known_hosts: Path) -> list[int]:
    """The ports other than 22 in lines such as `[198.18.86.10]:2222 ssh-ed25519 ...`."""
    lines = known_hosts.read_text().splitlines() if known_hosts.exists() else []
    names = [line.split()[0] for line in lines if line.startswith("[")]
    return sorted({int(name.rpartition(":")[2]) for name in names})


def _start(box: Box, command: list[str]) -> None:
    """QEMU in a session and control group of its own, with the lab's network as its own."""
    cgroups.group(box.name, "supervisor").mkdir(parents=True)
    enter = f'echo $$ > {cgroups.group(box.name, "supervisor")}/cgroup.procs && exec "$@"'
    # Ahead of others: a guest's clock goes on while it waits for its processor. Where the kernel
    # shares the processors out by session, `nice` counts within one only.
    ahead = "echo -5 > /proc/self/autogroup"
    enter = f"[ ! -e /proc/self/autogroup ] || {ahead}; {enter}"
    inside = ["nice", "--adjustment=-5", "nsenter", f"--net={network.ROUTER_FILE}", *command]
    with (box.folder / COMPLAINTS).open("w") as complaints:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", enter, "sh", *inside],
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
            check=True,
        )


def _complaint(box: Box) -> str:
    return ((box.folder / COMPLAINTS).read_text().strip() or "nothing").splitlines()[-1]


def _log_end(box: Box) -> str:
    """The end of the console's log, below the sentence it belongs to."""
    since = console.last(box.console, BOOT_SIGNS)
    lines = "".join(f"\n    {line}" for line in console.last_lines(box.console, since=since))
    return f"{box.console} ends with:{lines or ' nothing'}"
