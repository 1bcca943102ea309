"""Keep the notebook's ports, and its user's folder of tmux sockets, out of other hands.

`load` does both, at every boot before anybody can log in; `ports` loads the rules anew where
somebody flushed them; `check` prints "ok", or what is not so. Root runs it.
"""

import contextlib
import hashlib
import os
import pwd
import secrets
import stat
import sys
from pathlib import Path

from deeprig_box.lib import bounded, files
from deeprig_box.lib.errors import BoxError

CONF = Path("/etc/deeprig/notebook.conf")
TABLE = ("inet", "deeprig_notebook")
# What was wanted, and nft's own listing of what stood then; no two versions of nft list alike.
LOADED = Path("/run/deeprig-notebook-guard")
SECONDS = 30

# Who knocks and who answers is known by who opened the socket. A packet without a socket (a
# handshake not taken yet, the rest of a closed connection, a closed port's RST) passes, unless it
# could open a connection: SYN cookies have no socket, and two sides that call each other at once
# need no listener.
RULES = """\
table inet deeprig_notebook
delete table inet deeprig_notebook
table inet deeprig_notebook {{
    chain output {{
        type filter hook output priority filter; policy accept;
        oif "lo" tcp dport {{ {ports} }} jump knocks
        oif "lo" tcp sport {{ {ports} }} jump answers
    }}
    chain knocks {{
        meta skuid {{ {guests} }} return
        tcp flags & syn == syn reject with tcp reset
        meta skuid != {{ {guests} }} reject with tcp reset
    }}
    chain answers {{
        meta skuid {worker} return
        tcp flags & syn == syn drop
        meta skuid != {worker} drop
    }}
}}
"""
NOBODY = 2**32 - 2  # no account can have it, so nobody answers


def account(name: str) -> int | None:
    """Its number today: after a reinstall the same name may have another."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


class Wanted:
    """What the settings ask for."""

    def __init__(self) -> None:
        lines = CONF.read_text().splitlines()
        conf = dict(line.split("=", 1) for line in lines if line[:1] != "#" and "=" in line)
        self.user = conf["user"]
        self.worker = account(self.user)
        known = (self.worker, account(conf["deploy_user"]))
        self.rules = RULES.format(
            ports=f"{int(conf['port'])}, {int(conf['tensorboard_port'])}",
            guests=", ".join(map(str, sorted({0, *(n for n in known if n is not None)}))),
            worker=NOBODY if self.worker is None else self.worker,
        )

    @property
    def mark(self) -> str:
        return hashlib.sha256(self.rules.encode()).hexdigest()


def nft(*words: str, stdin: str = "") -> str:
    done = bounded.run(["/usr/sbin/nft", *words], stdin=stdin, seconds=SECONDS)
    if done.code:
        raise BoxError(f"nft: {' '.join(done.err.split()) or 'no reason is given'}")
    return done.out


def listing() -> str:
    return nft("-n", "list", "table", *TABLE)


def load_ports(wanted: Wanted) -> None:
    """Until its user is there, nobody answers on the ports."""
    nft("-f", "-", stdin=wanted.rules)
    files.write(LOADED, f"{wanted.mark}\n{listing()}")
    if wanted.worker is None:
        raise BoxError(f"There is no account {wanted.user}; the notebook's ports are shut.")


def check_ports(wanted: Wanted) -> None:
    try:
        stands = LOADED.read_text() == f"{wanted.mark}\n{listing()}"
    except (OSError, BoxError):
        stands = False
    if not stands:
        raise BoxError("other accounts reach the notebook's ports")


def check_folder(wanted: Wanted) -> None:
    """tmux wants it in /tmp, where whoever comes first has the name."""
    folder = socket_folder(wanted)
    try:
        status = folder.lstat()
    except FileNotFoundError:
        raise BoxError(f"{folder} is not there") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != wanted.worker:
        raise BoxError(f"{folder} belongs to {owner(status.st_uid)}")


def socket_folder(wanted: Wanted) -> Path:
    return Path(f"/tmp/tmux-{wanted.worker}")


def owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def make_folder(wanted: Wanted) -> None:
    """What somebody else put there is moved aside, and stays theirs."""
    folder = socket_folder(wanted)
    for _ in range(20):  # whoever put it there may be quick
        try:
            return check_folder(wanted)
        except BoxError as wrong:
            with contextlib.suppress(FileNotFoundError):
                aside = folder.rename(f"{folder}.{secrets.token_hex(8)}")  # of a link, the link
                print(f"{wrong}; it is {aside} now.")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)  # root's in /tmp: nobody else can rename or remove it
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            os.fchown(opened, pwd.getpwnam(wanted.user).pw_uid, pwd.getpwnam(wanted.user).pw_gid)
            os.close(opened)
    check_folder(wanted)


def main() -> None:
    settings = Wanted()
    match sys.argv[1:]:
        case ["load"]:
            load_ports(settings)
            make_folder(settings)
        case ["ports"]:
            load_ports(settings)
        case ["check"]:
            check_ports(settings)
            check_folder(settings)
            print("ok")
        case _:
            sys.exit("usage: notebook-guard load | ports | check")
