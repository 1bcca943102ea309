"""JupyterLab and TensorBoard: two windows of one tmux session, kept up by their user's systemd."""

import shlex

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import data
from deeprig.settings import Notebook
from tasks import archive, config_files, jobs, operations, packages, sessions
from tasks.facts import Shell
from tasks.operations import Commands, Watched
from tasks.packages import BROUGHT
from tasks.traces import Trace

SCRIPTS = "/usr/local/lib/deeprig"
SERVER = f"{SCRIPTS}/notebook-server"
UNIT_FILE = "/etc/systemd/user/deeprig-notebook.service"
HASH_FILE = "/etc/deeprig/notebook-password-hash"
UNIT, JOBS_UNIT = "deeprig-notebook.service", "deeprig-jobs.service"
TRACE = Trace(
    files=(
        UNIT_FILE,
        "/etc/deeprig/tmux.conf",
        "/etc/deeprig/notebook.conf",
        "/etc/deeprig/jupyter_server_config.py",
        HASH_FILE,
        *(
            f"{SCRIPTS}/{name}"
            for name in (
                "notebook-window",
                "notebook_work.py",
                "notebook-kernels",
                "notebook-server",
            )
        ),
        *jobs.FILES,
        "/home/*/.config/deeprig/notebook-token",
    ),
    # tmux and the others are of every box.
    packages=tuple(sorted({*archive.SESSIONS} - {*data.load("packages")["tools"]})),
    before=(
        sessions.of_each_manager(f"stop {UNIT} {JOBS_UNIT} 2>/dev/null || true"),
        f"systemctl --global disable -q {UNIT} 2>/dev/null || true",
        f"for user in $(sed -n 's/^linger //p' {BROUGHT} 2>/dev/null); do "
        f'loginctl disable-linger "$user"; sed -i "/^linger $user\\$/d" {BROUGHT}; done',
    ),
    after=(sessions.of_each_manager("daemon-reload"),),
    work="[*jobs(there), *in_notebooks()]",
    stays="notebooks, and the logs of jobs in ~/.local/state/deeprig, stay",
)


@deploy("Notebook server")
def serve(settings: Notebook) -> None:
    """Both servers answer on loopback ports, also when nobody is logged in."""
    packages.install(name="Install tmux", packages=list(archive.SESSIONS))
    _linger(settings.user)

    config_files.copy("/etc/deeprig/tmux.conf")
    config_files.write("/etc/deeprig/notebook.conf", notebook=settings)
    config_files.write(
        "/etc/deeprig/jupyter_server_config.py", notebook=settings, hash_file=HASH_FILE
    )
    _password(settings)
    config_files.copy(f"{SCRIPTS}/notebook-window", mode="755")
    config_files.copy(f"{SCRIPTS}/notebook_work.py")
    config_files.copy(f"{SCRIPTS}/notebook-kernels", mode="755")
    config_files.copy(SERVER, mode="755")
    config_files.write(UNIT_FILE, notebook=settings)

    _answer(name="Have both servers run and answer", restart_busy=settings.restart_busy)


def _linger(user: str) -> None:
    quoted = shlex.quote(user)
    runtime = f"/run/user/$(id -u {quoted})/systemd/private"
    operations.bring_about(
        name=f"Let {user}'s services run without a login",
        holds=f"test -e /var/lib/systemd/linger/{quoted} && test -S {runtime} && echo yes",
        commands=[
            f"[ -e /var/lib/systemd/linger/{quoted} ] || echo linger {quoted} >> {BROUGHT}",
            f"loginctl enable-linger {quoted}",
            f"for i in $(seq 300); do test -S {runtime} && exit 0; sleep 0.1; done; "
            f"echo The systemd of {quoted} 'does not start; see: "
            f"systemctl status user@'$(id -u {quoted}) >&2; exit 1",
        ],
    )


def _password(settings: Notebook) -> None:
    """The hash in a file that its user alone can read; Jupyter's configuration is everybody's."""
    if settings.password_hash is None:
        operations.remove(name="No password beside the token", path=HASH_FILE)
        return
    operations.put(
        name=f"Write {HASH_FILE}",
        dest=HASH_FILE,
        content=settings.password_hash,
        user=settings.user,
        mode="400",
    )


@operation()
def _answer(restart_busy: bool) -> Commands:
    """Start what does not run, restart what runs with old settings, and wait for the answers.

    While somebody computes there the restart is left for later; the next run finds it owed.
    """
    state = host.get_fact(Shell, script=f"{SERVER} state")
    if state == "ok":
        host.noop("both answer")
        return
    work = state.partition("; busy: ")[2]
    if work and not restart_busy and host.state.is_executing:
        operations.say(host, f"The restart is left for later: {work}; the next run does it.")
        host.noop("left for later")
        return
    yield Watched(f"{SERVER} start {'--even-busy' if restart_busy else ''}")
