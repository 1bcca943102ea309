"""Where caches go, in every kind of session of the one user who has a data folder.

Three doors, as each kind of session has its own: sshd for whatever comes by SSH, /etc/profile.d
for login shells, and a generator for what the user's systemd starts, notebooks among it.
"""

import shlex
from typing import NamedTuple

from pyinfra.api.deploy import deploy

from deeprig.settings import Rig
from deeprig.survey import Survey
from tasks import config_files, operations
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
    found = {"HF_HOME": f"{cache}/huggingface", "UV_CACHE_DIR": f"{cache}/uv"}
    if survey.disks.apart or mountpoints(rig.storage):
        found["UV_LINK_MODE"] = "copy"  # uv links from its cache, which is on another disk here
    return Caches(rig.notebook.user, found)


def sshd_files(caches: Caches | None) -> dict[str, str]:
    """What sshd is told, path to content; it takes part in the proof of a new login."""
    return {SSHD: config_files.render(SSHD, **caches._asdict())} if caches else {}


@deploy("Sessions")
def provide(caches: Caches) -> None:
    """Login shells and the user's services know the variables; sshd is told with the way in."""
    config_files.write(PROFILE, **caches._asdict())
    config_files.write(GENERATOR, mode="755", **caches._asdict())
    user = shlex.quote(caches.user)
    systemctl = f"runuser -u {user} -- env XDG_RUNTIME_DIR=/run/user/$(id -u {user}) systemctl"
    known = [
        shlex.join(["grep", "-qxF", f"{name}={value}"]) for name, value in caches.variables.items()
    ]
    operations.bring_about(
        name=f"Tell {caches.user}'s services",
        # Nobody to tell where no service of theirs has been started yet.
        holds=f"said=$({systemctl} --user show-environment 2>/dev/null) || {{ echo none; exit; }}; "
        + "".join(f'echo "$said" | {line} && ' for line in known)
        + "echo told",
        commands=[f"{systemctl} --user daemon-reload"],
    )


def of_each_manager(verb: str) -> str:
    """Have the systemd of each user that is running do this."""
    return (
        "for d in /run/user/*; do [ ! -S $d/systemd/private ] || "
        f"/usr/local/lib/deeprig/as-user 150 $(stat -c %U $d) systemctl --user {verb}; done"
    )
