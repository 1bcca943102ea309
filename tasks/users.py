"""Accounts: who may log in, with which key; and those who may no longer."""

from pyinfra.api.deploy import deploy
from pyinfra.operations import server

from deeprig.settings import User
from tasks import operations


@deploy("Users")
def provide(settings: tuple[User, ...]) -> None:
    """Every account of the settings, and none that they take away; homes are never deleted."""
    for user in settings:
        if user.present:
            _add(user)
        else:
            operations.bring_about(
                name=f"Take {user.name}'s account away, the home stays",
                holds=f"getent passwd {user.name} >/dev/null || echo gone",
                commands=[
                    f"loginctl disable-linger {user.name} || true; loginctl terminate-user "
                    f"{user.name} || true; userdel {user.name}"
                ],
            )


def _add(user: User) -> None:
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
