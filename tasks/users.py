"""Accounts: who may log in, with which key; and those who may no longer."""

from pyinfra.api.deploy import deploy
from pyinfra.operations import server

from deeprig.settings import User
from tasks import operations


@deploy("Users")
def provide(settings: tuple[User, ...], data_folder: str | None = None) -> None:
    """Every account of the settings, and none that they take away; homes are never deleted.

    A new account gets the number that its folder in the data folder bears, if it is free.
    """
    for user in settings:
        if user.present:
            _add(user, data_folder)
        else:
            operations.bring_about(
                name=f"Take {user.name}'s account away, the home stays",
                holds=f"getent passwd {user.name} >/dev/null || echo gone",
                # terminate-user returns before the last process of a session is gone.
                commands=[
                    f"loginctl disable-linger {user.name}; loginctl terminate-user {user.name}; "
                    f"for i in 1 2 3 4 5 6 7 8; do pkill -KILL -u {user.name}; "
                    f"userdel {user.name} && exit 0; sleep 1; done; exit 1"
                ],
            )


def _add(user: User, data_folder: str | None) -> None:
    if data_folder:
        operations.bring_about(
            name=f"Have an account {user.name}",
            holds=f"getent passwd {user.name}",
            commands=[
                f'uid=$(stat -c %u {data_folder}/{user.name} 2>/dev/null); case "$uid" in '
                "[1-9][0-9][0-9][0-9]|[1-5][0-9][0-9][0-9][0-9]) "
                '! getent passwd "$uid" >/dev/null || uid= ;; *) uid= ;; esac; '
                f"useradd --create-home --shell /bin/bash ${{uid:+--uid $uid}} {user.name}"
            ],
        )
    server.user(
        name=f"Have {user.name} log in with a key",
        user=user.name,
        shell="/bin/bash",
        public_keys=list(user.keys),
        ensure_home=True,
        create_home=True,
    )
    if user.sudo is not None:
        group, verb = ("sudo", "-aG") if user.sudo else ("sudo", "-rG")
        test = "" if user.sudo else "! "
        operations.bring_about(
            name=f"{user.name} {'may' if user.sudo else 'may not'} use sudo, with a password",
            holds=f"{test}id -nG {user.name} | tr ' ' '\\n' | grep -qx {group} && echo so",
            commands=[
                f"usermod {verb} {group} {user.name}"
                if user.sudo
                else f"gpasswd -d {user.name} {group}"
            ],
        )
