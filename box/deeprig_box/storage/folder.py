"""Have the data folder and the work user's own folder in it, or say how they stand (--check).

Root runs it, and
works by descriptors of folders. What is below the user's own folder is done as the user
(home.py). --check prints "ok", "note ..." where something of the user's is left as it is, or
nothing where work is owed. Exit status 1 after one line on stderr.
"""

import argparse
import os
import pwd
import resource
import stat
import sys
from contextlib import suppress
from pathlib import Path

from deeprig_box.lib import as_user, place
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.root_only import FOLDER, somebody, walked
from deeprig_box.lib.standing import OK, OWED, Standing

SECONDS = 60
# Something of any kind, without opening it: what it is can no longer change.
ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def guard(folder: Path, disks: list[str]) -> None:
    """Never write below a mountpoint whose disk is not there: that would fill the root disk."""
    for at in disks:
        if not os.path.ismount(at):
            sys.exit(
                f"The disk for {at} is not mounted, so nothing is written to {folder}; "
                f"`lsblk -f` shows the disks, `sudo mount {at}` mounts it."
            )


def opened(name: str, parent: int, shown: Path) -> int | None:
    """The folder of that name, None where there is nothing; exits for anything else."""
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError:  # ELOOP for a link, ENOTDIR for the rest
        sys.exit(f"{shown} is no folder; move it away, or name another place in Storage.")


def the_top(folder: Path, *, check: bool) -> int | None:
    """The data folder, root's; None where --check finds work. Exits where it is another's."""
    parent = walked(folder.parent, make=not check)
    if parent is None:
        return None
    top = opened(folder.name, parent, folder)
    if top is not None:
        status = os.fstat(top)
        if status.st_uid and somebody(status.st_uid):
            sys.exit(
                f"{folder} belongs to {somebody(status.st_uid)}; `sudo chown root: {folder}`, or "
                "set Storage.folder to another place."
            )
        if (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755):
            return top
    if check:
        return None
    if top is None:
        os.mkdir(folder.name, 0o755, dir_fd=parent)
        top = os.open(folder.name, FOLDER, dir_fd=parent)
    os.fchown(top, 0, 0)
    os.fchmod(top, 0o755)
    return top


def owner(own: int, shown: Path, user: pwd.struct_passwd) -> int:
    """Whose number the user's folder bears; exits for another user's."""
    uid = os.fstat(own).st_uid
    if uid != user.pw_uid and somebody(uid):
        sys.exit(
            f"{shown} belongs to {somebody(uid)}, not to {user.pw_name}; if it is to be "
            f"{user.pw_name}'s, run `sudo chown -R {user.pw_name}: {shown}`."
        )
    return uid


def the_own(top: int, shown: Path, user: pwd.struct_passwd, *, check: bool) -> int | None:
    """The user's folder in it; None where --check finds work."""
    own = opened(user.pw_name, top, shown)
    if own is not None:
        uid, loose = owner(own, shown, user), os.fstat(own).st_mode & 0o027
        if uid == user.pw_uid and not loose:
            return own
    if check:
        return None
    if own is None:
        return make_own(top, shown, user)
    if uid != user.pw_uid:
        hand_over(own, shown, user)
    if loose:
        os.fchmod(own, 0o750)
    return own


def make_own(top: int, shown: Path, user: pwd.struct_passwd) -> int:
    """Theirs before it has its name."""
    draft = f".{user.pw_name}.deeprig"
    with suppress(FileNotFoundError):
        os.rmdir(draft, dir_fd=top)  # of a run that was cut off
    os.mkdir(draft, 0o700, dir_fd=top)
    own = os.open(draft, FOLDER, dir_fd=top)
    os.fchown(own, user.pw_uid, user.pw_gid)
    os.fchmod(own, 0o750)
    os.rename(draft, user.pw_name, src_dir_fd=top, dst_dir_fd=top)
    return own


def hand_over(own: int, shown: Path, user: pwd.struct_passwd) -> None:
    """Give a folder from before a reinstall to the account that has its name now.

    The folder itself comes last, so that a run that was cut off is finished by the next. Something
    may still run under the old number, and the account has what it was given before.
    """
    before = os.fstat(own)
    print(f"{shown} has the number {before.st_uid} of an account before; it becomes "
          f"{user.pw_name}'s.")  # fmt: skip
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one for each folder of the way down
    way = [(os.dup(own), within(own))]
    while way:
        folder, names = way[-1]
        if not names:
            way.pop()
            if way:  # not the user's own one
                give(folder, before, user)
            os.close(folder)
            continue
        try:
            thing = os.open(names.pop(), ANYTHING, dir_fd=folder)
        except FileNotFoundError:
            continue
        status = os.fstat(thing)
        if status.st_dev != before.st_dev:
            os.close(thing)
        elif stat.S_ISDIR(status.st_mode):
            inner = os.open(".", FOLDER, dir_fd=thing)
            os.close(thing)
            way.append((inner, within(inner)))
        else:
            give(thing, before, user)
            os.close(thing)
    os.fchown(own, user.pw_uid, user.pw_gid)


def within(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def give(thing: int, before: os.stat_result, user: pwd.struct_passwd) -> None:
    """What has the old numbers gets the new ones."""
    status = os.fstat(thing)
    uid = user.pw_uid if status.st_uid == before.st_uid else -1
    gid = user.pw_gid if status.st_gid == before.st_gid else -1
    if (uid, gid) != (-1, -1):
        os.chown(f"/proc/self/fd/{thing}", uid, gid)  # the very thing, a link itself as well


def users_part(own: Path, user: pwd.struct_passwd, *, check: bool) -> str:
    """What home.py says as that user; whatever it is, one line without control characters."""
    words = place.command("home-links", str(own), *(["--check"] if check else []))
    done = as_user.run(user, words, seconds=SECONDS, most=65536)
    line, *_ = [*(done.err if done.code else done.out).decode(errors="replace").splitlines(), ""]
    sentence = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if done.code:
        sys.exit(sentence or f"home-links as {user.pw_name} ended with {done.code}.")
    return sentence if sentence == "ok" or sentence.startswith("note ") else ""


def check(words: list[str]) -> Standing:
    standing = bring_about([*words, "--check"])
    if standing.startswith("note "):
        return Standing(OK, f"{standing.removeprefix('note ')}.")
    return Standing(OK if standing == "ok" else OWED)


def apply(words: list[str]) -> None:
    bring_about(words)


def main() -> None:
    standing = bring_about(sys.argv[1:])
    if "--check" in sys.argv:
        print(standing, end="\n" if standing else "")


def bring_about(words: list[str]) -> str:
    """How it stands by `--check`, and by then otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only print how it stands")
    parser.add_argument("--disk", action="append", default=[], help="must be mounted")
    parser.add_argument("folder", type=Path)
    parser.add_argument("user", nargs="?", help="whose folder to have in it")
    options = parser.parse_args(words)
    guard(options.folder, options.disk)
    try:
        return have(options.folder, options.user, check=options.check)
    except as_user.Wrong as wrong:
        sentence = f"Something in a home or in the data folder does not answer: {wrong}"
        raise BoxError(sentence) from None


def have(folder: Path, name: str | None, *, check: bool) -> str:
    top = the_top(folder, check=check)
    if top is None:
        return ""
    if not name:
        return "ok"
    user = pwd.getpwnam(name)
    if the_own(top, folder / user.pw_name, user, check=check) is None:
        return ""
    return users_part(folder / user.pw_name, user, check=check)
