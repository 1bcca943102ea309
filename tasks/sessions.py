"""Where caches go, in every kind of session of the one user who has a data folder.

Three doors, as each kind of session has its own: sshd for whatever comes by SSH, /etc/profile.d
for login shells, and a generator for what the user's systemd starts, notebooks among it.
"""

import shlex
from typing import NamedTuple

from pyinfra.api.deploy import deploy

from deeprig import operations
from deeprig.facts.survey import Survey
from deeprig.operations import files
from deeprig.settings import Rig
from deeprig.ssh import as_user
from tasks.data_folder import mountpoints

SSHD = "/etc/ssh/sshd_config.d/11-deeprig-caches.conf"
PROFILE = "/etc/profile.d/deeprig-caches.sh"
GENERATOR = "/etc/systemd/user-environment-generators/50-deeprig-caches"


class Caches(NamedTuple):
    """Whose variables, and name to value."""

    user: str
    variables: dict[str, str]


def caches(rig: Rig, survey: Survey) -> Caches | None:
    """The work user's variables; None where nobody has a data folder."""
    if rig.storage is None or rig.notebook is None:
        return None
    cache = f"{rig.storage.folder}/{rig.notebook.user}/cache"
    variables = {"HF_HOME": f"{cache}/huggingface", "UV_CACHE_DIR": f"{cache}/uv"}
    if survey.disks.apart or mountpoints(rig.storage):
        variables["UV_LINK_MODE"] = "copy"  # uv links from its cache, which is on another disk here
    return Caches(rig.notebook.user, variables)


def sshd_files(caches: Caches | None) -> dict[str, str]:
    """What sshd is told, path to content; it takes part in the proof of a new login."""
    return {SSHD: files.render(SSHD, **caches._asdict())} if caches else {}


@deploy("Sessions")
def provide(caches: Caches) -> None:
    """Login shells and the user's services know the variables; sshd is told with the way in."""
    files.write(PROFILE, **caches._asdict())
    files.write(GENERATOR, mode="755", **caches._asdict())
    known = [f"grep -qxF {shlex.quote(f'{n}={value}')}" for n, value in caches.variables.items()]
    user = caches.user
    question = as_user.script(user, f"{as_user.SYSTEMCTL} show-environment")
    operations.shell(
        name=f"Tell {caches.user}'s services",
        # Nobody to tell where no service of theirs has been started yet.
        unless=f"said=$({question} 2>/dev/null) || {{ echo none; exit; }}; "
        + "".join(f'echo "$said" | {line} && ' for line in known)
        + "echo told",
        commands=[as_user.script(user, f"{as_user.SYSTEMCTL} daemon-reload")],
    )
