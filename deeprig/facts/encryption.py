"""What on a box asks for a passphrase at each boot: then a reboot is for a person to make."""

from pathlib import Path
from typing import NamedTuple

import paramiko

from deeprig.errors import DeeprigError
from deeprig.parsers import untrusted
from deeprig.ssh import root_shell

FOLDER = Path(__file__).parent
INSTALLED = (FOLDER / "installed.sh").read_text()  # which it needs before it
SCRIPT = (FOLDER / "encryption.sh").read_text()
ALONE = f"{INSTALLED}\n{SCRIPT}\ntrue\n"  # without the rest of the survey
SECONDS = 60


class Lock(NamedTuple):
    """An encrypted volume; `place` is what lies on it, "crypttab" where only that table names it.

    `how` is console or ssh: where its passphrase is given.
    """

    name: str
    place: str
    how: str


def read(found: dict[str, list[str]]) -> tuple[Lock, ...]:
    """The locks in what SCRIPT printed, key to values."""
    parts = [untrusted.visible(value).split("|") for value in found.get("asks", [])]
    return tuple(Lock(*each) for each in parts if len(each) == 3)


def asked_at_boot(transport: paramiko.Transport, name: str) -> str:
    """What the next boot of a box asks for, over a login that is open; "" where it needs nobody."""
    done = root_shell.run(transport, "sudo -n sh -s", stdin=ALONE, seconds=SECONDS)
    if done.code:
        raise DeeprigError(f"{name} does not say what its boot asks for: {done.last_words}")
    lines = [line.strip().partition("=") for line in done.out.splitlines()]
    return sentence(read({"asks": [value for key, _, value in lines if key == "asks"]}))


def sentence(locks: tuple[Lock, ...]) -> str:
    """What a boot asks for, without a full stop; "" where it needs nobody."""
    if not locks:
        return ""
    first = locks[0]
    what = f"{first.name} of /etc/crypttab" if first.place == "crypttab" else first.place
    where = "over SSH, to its initramfs" if first.how == "ssh" else "at its own screen and keyboard"
    more = f", and {len(locks) - 1} more" if locks[1:] else ""
    volume = "" if first.place == "crypttab" else f" ({first.name})"
    return f"{what} is encrypted{volume}{more}, and each boot waits for its passphrase {where}"
