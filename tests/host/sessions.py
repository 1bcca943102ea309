"""The kinds of session on a box, each with an environment of its own making."""

import shlex

from testinfra.host import Host

from deeprig import as_user
from tests.host.newcomer import Login

WITHOUT_A_NOTEBOOK = ("login shell", "shell in a login", "command over SSH")
SESSIONS = (*WITHOUT_A_NOTEBOOK, "notebook")
UNITS = ("user unit", "system unit")
# What the server, which is a user unit, hands on to kernels and terminals. $1 is a command.
AS_THE_SERVER = """
server=$(pgrep -o -u "$(id -un)" -f bin/jupyter-lab) || exit
xargs -0 -a "/proc/$server/environ" sh -c 'exec env -i "$@" sh -c "$0"' "$1"
"""


def run(kind: str, command: str, *, host: Host, user: str, login: Login) -> str:
    """What a command prints in a session of the work user; the one over SSH is `login`'s."""
    if kind == "command over SSH":
        return login().exec_command(command, timeout=60)[1].read().decode()
    if kind == "notebook":
        # The variables are the user's, and so is what they make of any program.
        with host.sudo(user):
            said: str = host.check_output("sh -c %s sh %s", AS_THE_SERVER, command)
        return said
    inside = {"login shell": command, "shell in a login": shlex.join(["bash", "-i", "-c", command])}
    return login_shell(host, user, inside[kind])


def login_shell(host: Host, user: str, command: str) -> str:
    """What a command prints in a login shell of the user's, which runs the files of their home."""
    with host.sudo():
        said: str = host.check_output(as_user.taken(["su", "--login", user, "--command", command]))
    return said


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
