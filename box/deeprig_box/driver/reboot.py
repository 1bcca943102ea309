"""Around a move of the driver: who works, whether it would boot, the reboot, another apt."""

import os
import time
from pathlib import Path

from deeprig_box.lib import bounded, place, workload
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver

GUARD = Path("/etc/systemd/system/deeprig-boot-guard.service")
LOCK_SECONDS = 900


def at_work() -> list[str]:
    """What a move would disturb; whoever watches it is no work."""
    processes, own = workload.processes(), workload.group(Path("/proc/self"))
    watching = {process.group for process in processes if process.name == "driver-move"}
    others = [process for process in processes if process.group not in watching]
    return [
        *workload.on_a_card(processes),
        *workload.jobs(processes),
        *workload.in_notebooks(),
        *workload.in_guests(processes),
        *workload.dpkg(),
        *workload.of_people(others, own),
        *workload.in_containers(processes),
    ]


def wait_for_dpkg() -> None:
    """Until nobody else installs packages."""
    began = time.monotonic()
    while workload.dpkg():
        waited = time.monotonic() - began
        if waited > LOCK_SECONDS:
            raise BoxError(f"another apt has been at work for {waited:.0f} s")
        print(f"Waiting for another apt or dpkg; {waited:.0f} s so far", flush=True)
        time.sleep(5)


def gate() -> None:
    """The boot loader set right, and whether what boots next comes up with the driver."""
    ask("boot-guard", "look")
    done = ask("reboot-gate", "check")
    if done.code:
        raise BoxError(done.err.strip().removeprefix("No reboot: ").rstrip("."))
    print(f"Would boot: {done.out.strip().removeprefix('ok ')}", flush=True)


def ask(script: str, *words: str) -> bounded.Done:
    if not GUARD.exists():
        return bounded.Done(0, b"", "")
    return bounded.run(place.command(script, *words), seconds=bounded.LONG)


def load() -> None:
    if driver.in_use() == "load":
        for name in (driver.plan()["module"], "nvidia-uvm"):
            bounded.run(["modprobe", name])


def reboot() -> None:
    os.sync()
    bounded.run(["systemctl", "reboot", "--no-block"])
