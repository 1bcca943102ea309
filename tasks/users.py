"""Accounts: who may log in, with which key; and those who may no longer."""

import shlex

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.operations import server

from deeprig.settings import User
from tasks import operations
from tasks.facts import Shell
from tasks.operations import Commands

# `--data force=now` on pyinfra's command line.
NOW = "now"
# What a login brings is nobody's work; names are cut after 15 letters, as in /proc.
NO_WORK = (
    "systemd|\\(sd-pam\\)|dbus-(daemon|broker)|ssh-agent|gpg-agent|dirmngr|sshd(-session)?|"
    "sftp-server"
)
SHUT = "1"  # the day after 1 January 1970: sshd lets nobody in whose account has ended


@deploy("Users")
def provide(settings: tuple[User, ...], data_folder: str | None = None) -> None:
    """Every account of the settings, and none that they take away; homes are never deleted.

    A new account gets the number that its folder in the data folder bears, if it is free.
    """
    for user in settings:
        if user.present:
            _add(user, data_folder)
        else:
            _take_away(
                name=f"Take {user.name}'s account away, the home stays",
                user=user.name,
                now=bool(host.data.get("force") == NOW),
            )


@operation()
def _take_away(user: str, now: bool) -> Commands:
    """Nobody gets in at once; the account goes as soon as nothing of theirs runs."""
    found = host.get_fact(Shell, script=_standing(user))
    if not found:
        host.noop("there is no such account")
        return
    expires, _, work = found.partition(" ")
    if work and not now:
        if host.state.is_executing:
            operations.say(
                host,
                f"{user} can no longer log in. The account stays for now: there runs {work}; the "
                f"next deploy takes it away, or `--data force={NOW}` on this command.",
            )
        if expires == SHUT:
            host.noop("left for later")
            return
        yield StringCommand(f"usermod --expiredate {SHUT}", QuoteString(user))
        return
    # terminate-user returns before the last process of a session is gone.
    yield StringCommand(
        f"u={shlex.quote(user)}; usermod --expiredate {SHUT} $u; loginctl disable-linger $u; "
        "loginctl terminate-user $u; for i in 1 2 3 4 5 6 7 8; do pkill -KILL -u $u; "
        "userdel $u && exit 0; sleep 1; done; exit 1"
    )


def _standing(user: str) -> str:
    """Asks for the day on which the account ends, or -, and what runs there; nothing if none."""
    return (
        f"u={shlex.quote(user)}; getent passwd $u >/dev/null || exit 0; "
        "day=$(getent shadow $u | cut -d: -f8); "
        f"echo \"${{day:--}} $(ps -o comm= -u $u | grep -vxE '{NO_WORK}' | sort -u | "
        "paste -sd, | sed 's/,/, /g')\""
    )


def _add(user: User, data_folder: str | None) -> None:
    quoted = shlex.quote(user.name)
    if data_folder:
        operations.bring_about(
            name=f"Have an account {user.name}",
            holds=f"getent passwd {quoted}",
            commands=[
                f"folder={shlex.quote(data_folder)}/{quoted}; "
                'uid=$(stat -c %u "$folder" 2>/dev/null); case "$uid" in '
                "[1-9][0-9][0-9][0-9]|[1-5][0-9][0-9][0-9][0-9]) "
                '! getent passwd "$uid" >/dev/null || uid= ;; *) uid= ;; esac; '
                f"useradd --create-home --shell /bin/bash ${{uid:+--uid $uid}} {quoted}"
            ],
        )
    operations.bring_about(
        name=f"Have {user.name}'s account open",
        holds=f'[ "$(getent shadow {quoted} | cut -d: -f8)" = {SHUT} ] || echo so',
        commands=[f"usermod --expiredate '' {quoted}"],
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
            holds=f"{test}id -nG {quoted} | tr ' ' '\\n' | grep -qx {group} && echo so",
            commands=[
                f"usermod {verb} {group} {quoted}" if user.sudo else f"gpasswd -d {quoted} {group}"
            ],
        )
