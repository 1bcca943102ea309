"""The kinds of session on a box, each with an environment of its own making."""

import shlex
from pathlib import PurePosixPath

import pytest
from testinfra.host import Host

from deeprig.ssh import as_user
from deeprig.ui.visible import visible
from fast_ssh import login_shell as shells
from tests.host.newcomer import Login, says

WITHOUT_A_NOTEBOOK = ("login shell", "shell in a login", "command over SSH")
SESSIONS = (*WITHOUT_A_NOTEBOOK, "notebook")
UNITS = ("user unit", "system unit")
# Stands before what a command prints; always the same, so that it can be asked ahead. It proves
# nothing: the shell, and all that it says, is its user's.
MARK = "deeprig-verify"
# Debian's zsh, fish and csh read other files.
READ_PROFILE = {"sh", "dash", "bash", "rbash", "ksh", "ksh93", "mksh"}
PROFILE_KINDS = ("login shell", "shell in a login")
# What the server, which is a user unit, hands on to kernels and terminals. $1 is a command.
AS_THE_SERVER = """
server=$(pgrep -o -u "$(id -un)" -f bin/jupyter-lab) || exit
xargs -0 -a "/proc/$server/environ" sh -c 'exec env -i "$@" sh -c "$0"' "$1"
"""


def run(kind: str, command: str, *, host: Host, user: str, login: Login) -> str:
    """What a command prints in a session of the work user; the one over SSH is `login`'s."""
    if kind == "command over SSH":
        return over_ssh(command, login)
    if kind == "notebook":
        # The variables are the user's, and so is what they make of any program.
        with host.sudo(user):
            said: str = host.check_output("sh -c %s sh %s", AS_THE_SERVER, command)
        return said
    line = shells.behind(MARK, command)
    if kind == "shell in a login":  # in the user's own shell, once more as for a terminal
        line = shells.for_any(f'"$SHELL" -i -c {shlex.quote(line)}')
    return _as_a_login(host, user, line)


def login_shell(host: Host, user: str, command: str) -> str:
    """What a command prints in a login shell of the user's, which runs the files of their home.

    Skips the check where these start no command.
    """
    return _as_a_login(host, user, shells.behind(MARK, command))


def _as_a_login(host: Host, user: str, line: str) -> str:
    with host.sudo():
        done = host.run(as_user.taken(["su", "--login", user, "--command", line]))
    said = _own(done.stdout_bytes, done.stderr_bytes, f"a login shell of {user}")
    assert done.rc == 0, f"in a login shell of {user}: {done!r}"
    return said.rstrip("\r\n")


def _own(out: bytes, err: bytes, where: str) -> str:
    """What the command printed, without what the start-up files did; skips where they ended it."""
    if not shells.began(MARK, out):
        said = (err + out).decode(errors="replace").strip().splitlines() or ["nothing"]
        pytest.skip(
            f"{where} starts no command: a file that it reads first ends it or puts another "
            f"program in its place (exec), and says {visible(said[-1])!r}"
        )
    return shells.own(MARK, out).decode(errors="replace")


def over_ssh(command: str, login: Login) -> str:
    """What a command prints that the deploy user sends, whatever their shell is and says."""
    out, err = says(login, shells.behind(MARK, command))
    return _own(out, err, "the deploy user's login shell")


def needs_profile(kind: str, host: Host, user: str) -> None:
    """Skip a check of what /etc/profile.d sets where the user's login shell does not read it."""
    shell = str(host.user(user).shell)
    if kind in PROFILE_KINDS and PurePosixPath(shell).name not in READ_PROFILE:
        pytest.skip(
            f"{user}'s login shell is {shell}, which does not read /etc/profile.d; notebooks, jobs "
            "and services have the same settings all the same"
        )


def environment(kind: str, *, host: Host, user: str, login: Login) -> dict[str, str]:
    """The variables of a session, or of what `systemd` starts for the user or for the system."""
    managers = {
        "user unit": "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user show-environment",
        "system unit": "systemctl show-environment",
    }
    if kind not in UNITS:
        said = run(kind, "env", host=host, user=user, login=login)
    elif kind == "system unit":
        said = host.check_output(managers[kind])
    else:
        with host.sudo(user):
            said = host.check_output("sh -c %s", managers[kind])
    lines = (line.partition("=") for line in said.splitlines())
    return {name: value for name, equals, value in lines if equals}
