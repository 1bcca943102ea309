"""One script run as root on a box, whatever sudo is there; passwords travel on stdin alone."""

import re
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import paramiko

from deeprig.errors import DeeprigError
from deeprig.ssh.first_login import Login, Password, PasswordNeeded, Target
from fast_ssh import login_shell, sending

SUDO = "sudo"
ENGLISH = "export LC_ALL=C; "  # whatever the box speaks with people
ASK_SECONDS = 30
MOST_BYTES = 4 * 2**20
MOST_LINES_BEFORE, LONGEST_LINE_BEFORE = 1000, 200
SCRIPT_SECONDS = 600  # apt may have to fetch sudo itself


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        lines = [line.strip() for line in (self.err + self.out).splitlines() if line.strip()]
        return lines[-1] if lines else "nothing"


def run(
    transport: paramiko.Transport, command: str, *, stdin: str = "", seconds: float = ASK_SECONDS
) -> Done:
    """One command for `sh`, to its end, whatever the login's own shell is and prints.

    Raises DeeprigError where it has no end within `seconds`, or answers with more than MOST_BYTES.
    """
    channel = sending.bound(transport.open_session(), most=MOST_BYTES, seconds=seconds)
    channel.settimeout(seconds)
    mark = secrets.token_hex(8)
    try:
        channel.exec_command(login_shell.behind(mark, f"{ENGLISH}{command}"))
        if stdin:
            channel.sendall(stdin.encode())
        channel.shutdown_write()
        # Side by side: who waits for one alone waits for ever where the other is full.
        with ThreadPoolExecutor(max_workers=1) as beside:
            errors = beside.submit(channel.makefile_stderr("rb").read)
            out = login_shell.own(mark, channel.makefile("rb").read()).decode(errors="replace")
            err = login_shell.own(mark, errors.result()).decode(errors="replace")
        code = channel.recv_exit_status()
        if channel.refused:
            raise DeeprigError(
                f"the box is not believed: {channel.refused}; look at it before anything else."
            )
        return Done(code, out, err)
    except (TimeoutError, OSError, EOFError) as error:
        raise DeeprigError(
            f"the box did not finish in {seconds:.0f} s ({error or type(error).__name__}); "
            "look at it, then run this again."
        ) from None
    finally:
        channel.close()


def as_root(host_data: Mapping[str, object]) -> str:
    """What goes before a command that root is to run, with a login of this inventory entry."""
    return "" if host_data.get("ssh_user") == "root" else f"{SUDO} -n "


def follow(transport: paramiko.Transport, command: str) -> paramiko.Channel:
    """A command for `sh` whose output is read as it comes, from the first byte of its own on.

    What the login's own shell prints before it is passed over, at most MOST_LINES_BEFORE lines.
    """
    # It may be of any size, and come for weeks; it is passed on and not kept.
    channel = sending.unbound(transport.open_session())
    mark = secrets.token_hex(8)
    channel.exec_command(login_shell.behind(mark, command))
    for _ in range(MOST_LINES_BEFORE):
        line = b""
        while not line.endswith(b"\n") and (byte := channel.recv(1)):
            line = line[-LONGEST_LINE_BEFORE:] + byte
        if not line or login_shell.ends_with(mark, line):
            break
    return channel


def is_free(login: Login) -> bool:
    """Whether this login is root's, or gets there without a password."""
    return _way(login.transport) in ("root", "free")


def run_as_root(login: Login, script: str, password: Password) -> str:
    """What `script` printed, run as root by `sh`. Raises PasswordNeeded or DeeprigError."""
    transport, target = login.transport, login.target
    way = _way(transport)
    shell, first_line = "sh -s", ""
    if way == "free":
        shell = "sudo -n sh -s"
    elif way == "asks":
        if password is None:
            raise PasswordNeeded(f"sudo on {target.hostname} asks for {target.user}'s password.")
        secret = password if isinstance(password, str) else password()
        _check_password(transport, target, secret)
        # Everything up to the mark is thrown away, so that a password which sudo did not want
        # after all never reaches a shell as a command.
        mark = f"mark-{secrets.token_hex(8)}"
        skip = f'while IFS= read -r line; do [ "$line" = {mark} ] && exec sh -s; done'
        shell, first_line = f"{SUDO} -k -S -p '' sh -c '{skip}'", f"{secret}\n{mark}\n"
    elif way != "root":
        raise DeeprigError(_no_sudo(target, way))
    done = run(transport, shell, stdin=first_line + script, seconds=SCRIPT_SECONDS)
    if done.code != 0:
        raise DeeprigError(f"{target.hostname} could not be prepared: {done.last_words}")
    return done.out


def _way(transport: paramiko.Transport) -> str:
    """`root`, `free` or `asks`; otherwise what the box said instead."""
    done = run(
        transport,
        'if [ "$(id -u)" = 0 ]; then echo way=root; elif ! command -v sudo >/dev/null; then '
        f"echo way=missing; elif {SUDO} -n true 2>/dev/null; then echo way=free; elif "
        f"{SUDO} -n true 2>&1 | grep -q 'must have a tty'; then echo way=terminal; else "
        "echo way=asks; fi",
    )
    match = re.search(r"^way=(\w+)$", done.out, re.MULTILINE)
    return match[1] if match else done.last_words


def _check_password(transport: paramiko.Transport, target: Target, secret: str) -> None:
    """Ask sudo once, alone: a script behind a wrong password would be read as further guesses."""
    done = run(transport, f"{SUDO} -k -S -p '' true", stdin=f"{secret}\n")
    if done.code == 0:
        return
    output = done.err + done.out
    if re.search(r"not in the sudoers|not allowed|may not run|I'm afraid I can't", output):
        raise DeeprigError(_no_sudo(target, "missing"))
    if re.search(r"try again|incorrect|authentication fail", output, re.IGNORECASE):
        raise DeeprigError(
            f"sudo on {target.hostname} refused {target.user}'s password; try again."
        )
    raise DeeprigError(
        f"sudo on {target.hostname} does not work for {target.user}: {_last(output)}"
    )


def _last(said: str) -> str:
    return Done(1, said, "").last_words


def _no_sudo(target: Target, way: str) -> str:
    if way == "terminal":
        return (
            f"sudo on {target.hostname} wants a terminal (requiretty), and a login of ours has "
            f"none; add `Defaults:{target.user} !requiretty` there by `sudo visudo`, and run this "
            "again."
        )
    if way != "missing":
        return f"{target.user} gets no shell on {target.hostname}, which says: {way}"
    return (
        f"{target.user} may not use sudo on {target.hostname}; run there `su -c 'apt install sudo "
        f"&& /usr/sbin/usermod -aG sudo {target.user}'`, or bootstrap with --user root."
    )
