"""People's homes and keys on a box: they are theirs, so they are looked at as them, not as root."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from deeprig.ssh import as_user

SCRIPT = (Path(__file__).parent / "people.sh").read_text()
SECONDS = 30
MOVE = "look at it, and have its owner move it away"
# Word of SCRIPT -> what is there and what to do, with {user} and {home} in it.
HOMES = {
    "link": "{home} is a link; `sudo usermod --home FOLDER {user}` names the folder it leads to.",
    "file": "{home} is no folder; move it away.",
    "closed": "Even root may not look at {home}, as where {user} has mounted it by FUSE; "
    "`sudo umount -l {home}` takes that away.",
    "others": "{home} belongs to somebody else; `sudo chown -R {user}: {home}`, if it is to be "
    "{user}'s.",
}
KINDS = {
    "nowhere": "is a link that leads nowhere",
    "fifo": "is a FIFO",
    "socket": "is a socket",
    "device": "is a device",
    "folder": "is a folder",
    "file": "is a file",
    "something": "is neither a file nor a folder",
    "others": "is not {user}'s to read and write",
    "large": "has more than 1 MiB, which no list of keys has",
}
KEYS = {
    "home-closed": "{user} may not enter {home}; look at its owner and mode.",
    "home-read-only": "{home} is on a file system that is read-only; `findmnt -T {home}` shows "
    "which, and `sudo mount -o remount,rw` there makes it one that can be written to.",
    "unanswered": f"{{home}}/.ssh does not answer within {SECONDS} s; {MOVE}.",
    **{f"folder-{word}": f"{{home}}/.ssh {kind}; {MOVE}." for word, kind in KINDS.items()},
    **{f"file-{word}": f"{{home}}/.ssh/authorized_keys {kind}; {MOVE}."
       for word, kind in KINDS.items()},
}  # fmt: skip
SAID = HOMES | KEYS


# What must never be given to a person, with all that is in it: such a home is an account's mistake.
SYSTEMS = (
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
    "/sys", "/tmp", "/usr", "/var",
)  # fmt: skip


def sentence(user: str, home: str, word: str) -> str:
    """What is in the way of this user's keys; `word` is of SCRIPT, or anything."""
    if word == "others" and f"/{home.strip('/').partition('/')[0]}" in SYSTEMS:
        return f"{home} is the system's; `sudo usermod --home FOLDER {user}` names another."
    return SAID.get(word, SAID["unanswered"]).format(user=user, home=home)


def functions() -> str:
    """SCRIPT and `as_user`, for the shell that asks of several users."""
    return f"{as_user.FUNCTION}\n{SCRIPT}"


def keys(verb: str, user: str, lines: Iterable[str] = ()) -> str:
    """What root's shell is to run for `has` and `add`; needs functions()."""
    name = shlex.quote(user)
    told = shlex.join(lines)
    return f'as_user {SECONDS} {name} sh -c "$KEYS" sh {verb} "$(home_of {name})" {told}'
