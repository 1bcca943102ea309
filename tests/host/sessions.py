"""The kinds of session on a box, each with an environment of its own making."""

import shlex

from testinfra.host import Host

from tests.host.newcomer import Login

WITHOUT_A_NOTEBOOK = ("login shell", "shell in a login", "command over SSH")
SESSIONS = (*WITHOUT_A_NOTEBOOK, "notebook")
UNITS = ("user unit", "system unit")


def run(kind: str, command: str, *, host: Host, user: str, login: Login) -> str:
    """What a command prints in a session of the work user; the one over SSH is `login`'s."""
    if kind == "command over SSH":
        return login().exec_command(command, timeout=60)[1].read().decode()
    quoted = shlex.quote(command)
    started = f"/proc/$(pgrep -o -u {user} -f bin/jupyter-lab)/environ"
    hand_on = shlex.quote("""exec env -i "$@" sh -c "$0" """)
    inside = {
        "login shell": f"su --login {user} --command {quoted}",
        "shell in a login": f"su --login {user} --command {shlex.quote(f'bash -i -c {quoted}')}",
        # What the server, which is a user unit, hands on to kernels and terminals.
        "notebook": f"xargs -0 -a {started} sh -c {hand_on} {quoted}",
    }
    with host.sudo():
        said: str = host.check_output(inside[kind])
    return said


def environment(kind: str, *, host: Host, user: str, login: Login) -> dict[str, str]:
    """The variables of a session, or of what `systemd` starts for the user or for the system."""
    managers = {
        "user unit": f"XDG_RUNTIME_DIR=/run/user/$(id -u {user}) systemctl --user show-environment",
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
