"""Commands of root's that run with a user's rights, so that nothing of that user's becomes root's.

Three things are always so: stdin is /dev/null, the command is in a session of its own, and what it
prints goes into a file that root alone can open and reads when the command itself has ended.
"""

import shlex
from collections.abc import Sequence

SECONDS = 60
# Of each stream; whoever writes more is ended (SIGXFSZ, status 153). `ulimit` counts in 512 bytes.
BLOCKS = 4 * 2**20 // 512
TIMED_OUT = 124

# sh -c TAKE sh SECONDS USER ARGV...; an empty USER is root.
TAKE = (
    "umask 077; s=$1 u=$2; shift 2; d=$(mktemp -d -p /run deeprig-as.XXXXXX) || exit; "
    '[ -z "$u" ] || { g=$(id -g "$u") && '
    'set -- setpriv --reuid="$u" --regid="$g" --init-groups --reset-env "$@"; } || exit; '
    f"(umask 022; cd /; ulimit -f {BLOCKS}; exec setsid --wait timeout --kill-after=5 "
    '"$s" "$@") </dev/null >"$d/o" 2>"$d/e"; r=$?; cat "$d/o"; cat "$d/e" >&2; rm -r "$d"; exit $r'
)
# For a script of root's that asks of several users: as_user SECONDS USER ARGV...
FUNCTION = f'as_user() {{ sh -c {shlex.quote(TAKE)} sh "$@"; }}'


def command(user: str, argv: Sequence[str], *, seconds: int = SECONDS) -> str:
    """What root's shell is to run: `argv` as this user, with a fresh environment, in /.

    Its exit status is that of argv, 124 where it took longer than `seconds`.
    """
    return shlex.join(["sh", "-c", TAKE, "sh", str(seconds), user, *argv])


def script(user: str, text: str, *arguments: str, seconds: int = SECONDS) -> str:
    """The same for a shell script, which finds its arguments as $1 and so on."""
    return command(user, ["sh", "-c", text, "sh", *arguments], seconds=seconds)


def taken(argv: Sequence[str], *, seconds: int = SECONDS) -> str:
    """What root's shell is to run: `argv` as root, for programs that become a user themselves."""
    return shlex.join(["sh", "-c", TAKE, "sh", str(seconds), "", *argv])
