"""What on a box asks for a passphrase at each boot: then a reboot is for a person to make."""

from pathlib import Path
from typing import NamedTuple

from deeprig.parsers import untrusted

SCRIPT = (Path(__file__).parent / "encryption.sh").read_text()


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
