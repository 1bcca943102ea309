"""Accounts: who may log in, with which key; and those who may no longer."""

import shlex

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.facts import people
from deeprig.operations.core import Commands
from deeprig.operations.facts import Shell
from deeprig.parsers import untrusted
from deeprig.settings import User

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
    account = host.get_fact(Shell, script=_standing(user))
    if not account:
        host.noop("there is no such account")
        return
    expires, _, work = untrusted.visible(account).partition(" ")
    name = shlex.quote(user)
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
        yield StringCommand(f"usermod --expiredate {SHUT} {name}")
        return
    # terminate-user returns before the last process of a session is gone.
    yield StringCommand(
        f"usermod --expiredate {SHUT} {name}; loginctl disable-linger {name}; "
        f"loginctl terminate-user {name}; for i in 1 2 3 4 5 6 7 8; do pkill -KILL -u {name}; "
        f"userdel {name} && exit 0; sleep 1; done; exit 1"
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
    name = shlex.quote(user.name)
    ask = people.functions()
    kept = [f"{data_folder}/{user.name}"] if data_folder else []
    operations.shell(
        name=f"Have an account {user.name}",
        unless=f"getent passwd {name}",
        commands=[_script(f"{ask}\nmake_account {name} {shlex.join(kept)}")],
    )
    operations.shell(
        name=f"Have {user.name}'s account open",
        unless=f'[ "$(getent shadow {name} | cut -d: -f8)" = {SHUT} ] || echo so',
        commands=[f"usermod --expiredate '' {name}"],
    )
    operations.shell(
        name=f"Have {user.name} get a shell",
        unless=f"{ask}\nshell_of {name}",
        commands=[f"usermod --shell /bin/bash {name}"],
    )
    operations.shell(
        name=f"Have a home for {user.name}",
        unless=f'{ask}\n[ "$(home_is {name})" = ok ] && echo ok',
        commands=[_script(f"{ask}\nmake_home {name}")],
    )
    operations.shell(
        name=f"Have {user.name} log in with a key",
        unless=f"{ask}\n{people.keys('has', user.name, user.keys)}",
        commands=[_script(f"{ask}\n{people.keys('add', user.name, user.keys)}")],
    )
    if user.sudo is not None:
        group, verb = ("sudo", "-aG") if user.sudo else ("sudo", "-rG")
        test = "" if user.sudo else "! "
        operations.shell(
            name=f"{user.name} {'may' if user.sudo else 'may not'} use sudo, with a password",
            unless=f"{test}id -nG {name} | tr ' ' '\\n' | grep -qx {group} && echo so",
            commands=[
                f"usermod {verb} {group} {name}" if user.sudo else f"gpasswd -d {name} {group}"
            ],
        )


def _script(text: str) -> str:
    return shlex.join(["sh", "-c", text])
