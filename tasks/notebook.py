"""JupyterLab and TensorBoard: two windows of one tmux session, kept up by their user's systemd."""

import shlex

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.operations import files, packages
from deeprig.operations.box_program import BOX, SCRIPTS
from deeprig.operations.footprint import Footprint
from deeprig.operations.packages import BROUGHT
from deeprig.settings import DEPLOY_USER, Notebook
from deeprig.ssh import as_user
from tasks import base_packages, jobs

SERVER = f"{BOX} notebook-server"
MANAGER = f"{SCRIPTS}/user-manager"
UNIT_FILE = "/etc/systemd/user/deeprig-notebook.service"
HASH_FILE = "/etc/deeprig/notebook-password-hash"
UNIT, JOBS_UNIT = "deeprig-notebook.service", "deeprig-jobs.service"
# Ports and sockets that nobody else can take.
GUARD, GUARD_UNIT = f"{BOX} notebook-guard", "deeprig-notebook-guard.service"
NFTABLES = "nftables.service.d/50-deeprig-notebook.conf"
GUARD_FILES = (
    f"/etc/systemd/system/{GUARD_UNIT}",
    f"/etc/systemd/system/{NFTABLES}",
    "/etc/tmpfiles.d/deeprig-tmux.conf",
)
# The work users there were; a token is taken away with its user's own rights.
FORGET_TOKENS = (
    f"{{ sed -n 's/^user=//p' /etc/deeprig/notebook.conf; sed -n 's/^linger //p' {BROUGHT}; }} "
    "2>/dev/null | sort -u | while read -r user; do "
    f"""{BOX} as-user 30 "$user" sh -c 'cd && rm -f .config/deeprig/notebook-token && """
    """{ [ ! -d .config/deeprig ] || rmdir --ignore-fail-on-non-empty .config/deeprig; }' """
    "|| true; done"
)
FOOTPRINT = Footprint(
    files=(
        UNIT_FILE,
        "/etc/deeprig/tmux.conf",
        "/etc/deeprig/notebook.conf",
        "/etc/deeprig/jupyter_server_config.py",
        HASH_FILE,
        *GUARD_FILES,
        "/run/deeprig-notebook-guard",
        *jobs.FILES,
    ),
    units=(GUARD_UNIT,),
    # tmux and the others are of every box.
    packages=tuple(sorted({*base_packages.SESSIONS} - {*catalog.load("packages")["tools"]})),
    before=(
        as_user.of_each_manager(f"stop {UNIT} {JOBS_UNIT} 2>/dev/null || true"),
        f"systemctl --global disable -q {UNIT} 2>/dev/null || true",
        FORGET_TOKENS,
        f"for user in $(sed -n 's/^linger //p' {BROUGHT} 2>/dev/null); do "
        f'loginctl disable-linger "$user"; sed -i "/^linger $user\\$/d" {BROUGHT}; done',
        f"rm -f {GUARD_FILES[1]}; systemctl daemon-reload",  # else a stop loads the table again
        "nft delete table inet deeprig_notebook 2>/dev/null || true",
        # Somebody has rules of their own by now: the package is theirs.
        f"! systemctl is-enabled -q nftables || sed -i '/^package nftables$/d' {BROUGHT}",
    ),
    after=(as_user.of_each_manager("daemon-reload"),),
    work="[*jobs(there), *in_notebooks()]",
    notice="notebooks, and the logs of jobs in ~/.local/state/deeprig, stay",
)


@deploy("Notebook server")
def serve(settings: Notebook) -> None:
    """Both servers answer on loopback ports of their own, also when nobody is logged in."""
    packages.install(name="Install tmux and nftables", packages=list(base_packages.SESSIONS))
    _linger(settings.user)

    files.copy("/etc/deeprig/tmux.conf")
    deploy_user = str(host.data.get("ssh_user") or DEPLOY_USER)
    files.write("/etc/deeprig/notebook.conf", notebook=settings, deploy_user=deploy_user)
    files.write("/etc/deeprig/jupyter_server_config.py", notebook=settings, hash_file=HASH_FILE)
    _password(settings)
    files.write(UNIT_FILE, notebook=settings)

    _guard(settings.user)
    operations.converge(
        name="Have both servers run and answer",
        command=SERVER,
        arguments="--even-busy" if settings.restart_busy else "",
        shown=True,
    )


def _linger(user: str) -> None:
    quoted = shlex.quote(user)
    operations.shell(
        name=f"Let {user}'s services run without a login",
        unless=f"{MANAGER} {quoted} check && echo yes",
        commands=[
            f"[ -e /var/lib/systemd/linger/{quoted} ] || echo linger {quoted} >> {BROUGHT}",
            f"{MANAGER} {quoted}",
        ],
    )


def _guard(user: str) -> None:
    """Before the servers: who has a port first has what is sent to it."""
    files.copy(GUARD_FILES[-1])
    files.units(GUARD_UNIT, NFTABLES)
    operations.enable(name="Guard the ports at every boot", unit=GUARD_UNIT, start=False)
    operations.shell(
        name=f"Keep the ports and the tmux folder for {user}",
        unless=f"{GUARD} check",
        # A service that somebody has there is not cut off; what is moved aside is said.
        commands=[f"{SERVER} free", f"{GUARD} load"],
        streamed=True,
    )


def _password(settings: Notebook) -> None:
    """The hash in a file that its user alone can read; Jupyter's configuration is everybody's."""
    if settings.password_hash is None:
        files.remove(name="No password beside the token", path=HASH_FILE)
        return
    files.put(
        name=f"Write {HASH_FILE}",
        dest=HASH_FILE,
        content=settings.password_hash,
        user=settings.user,
        mode="400",
    )
