"""Whether a boot is good: up as far as the box can see, reached by somebody, at work.

Written by deeprig (files/usr/local/lib/deeprig/boot_reached.py): change it there. Reads only.
"""

import re
import subprocess

import boot_work
from boot_once import run


def is_up() -> bool:
    """As far as the box itself can see: started, with a way out, and with sshd at its door."""
    started = subprocess.run(["systemctl", "is-active", "-q", "multi-user.target"]).returncode == 0
    return started and bool(run("ip", "route", "show", "default")) and "sshd" in listening()


def listening() -> str:
    return run("ss", "-Hltnp") + (" sshd" if _active("ssh.socket") else "")


def _active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "-q", unit]).returncode == 0


def logins() -> bool:
    """Whether sshd has let somebody in since this boot."""
    said = run(
        "journalctl", "--boot", "--quiet", "--output=cat", "-t", "sshd", "-t", "sshd-session"
    )
    return bool(re.search(r"^Accepted ", said, re.MULTILINE))


def anybody() -> bool:
    found = boot_work.all_of_it()
    return bool(found["work"] or found["people"])
