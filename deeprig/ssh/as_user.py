"""Commands of root's that run with a user's rights, so that nothing of that user's becomes root's.

Three things are always so: stdin is /dev/null, the command is in a session of its own, and what it
prints goes through a pipe of its own, whose other end a reader of root's has until the command
itself has ended. What lives on in the background holds the end of a pipe that nobody reads: a file
in /run would be room that root can not have back.
"""

import shlex
from collections.abc import Sequence

SECONDS = 60
# Of each stream; whoever writes more is ended (SIGPIPE), and the status is 153. `ulimit` counts a
# file in 512 bytes and memory in KiB: a reader keeps a whole line.
BLOCKS = 4 * 2**20 // 512
MEMORY = 64 * 2**10
TIMED_OUT, TOO_MUCH = 124, 153

# A reader reads until the line that root writes when the command has ended, not until the pipe's
# end, and its status says whether it saw that line. Others may write before its first word: bash
# has a write of its own for each line.
SEEN = 5
READ = (
    f"(ulimit -f {BLOCKS}; ulimit -v {MEMORY}; "
    f'export LC_ALL=C; exec sed "/$m\\$/Q{SEEN}") 2>/dev/null'
)
END = "printf '\\n%s\\n' \"$m\" 2>/dev/null"
# sh -c TAKE sh SECONDS USER ARGV...; an empty USER is root.
TAKE = (
    's=$1 u=$2; shift 2; [ -z "$u" ] || { g=$(id -g "$u") && '
    'set -- setpriv --reuid="$u" --regid="$g" --init-groups --reset-env "$@"; } || exit; '
    "umask 077; d=$(mktemp -d -p /run deeprig-as.XXXXXX) && m=ended.${d##*.} && "
    'mkfifo "$d/out" "$d/err" || exit; '
    f'{READ} <"$d/out" >"$d/o" & o=$!; {READ} <"$d/err" >"$d/e" & e=$!; '
    # Root's ends, and others for the user: by a copy of root's it could have root's own writes fail
    # (O_NONBLOCK). 5 reads meanwhile, else a reader that is gone already would be waited for.
    'exec 3>"$d/out" 4>"$d/err" 5<>"$d/out" 6>"$d/out" 5<>"$d/err" 7>"$d/err" 5>&-; '
    '(umask 022; cd /; exec setsid --wait timeout --kill-after=5 "$s" "$@") '
    "</dev/null >&6 2>&7 3>&- 4>&- 6>&- 7>&-; r=$?; "
    f"trap '' PIPE; {END} >&3; {END} >&4; exec 3>&- 4>&- 6>&- 7>&-; "
    f"wait $o; [ $? = {SEEN} ] || r={TOO_MUCH}; wait $e; [ $? = {SEEN} ] || r={TOO_MUCH}; "
    'head -c -1 "$d/o"; head -c -1 "$d/e" >&2; rm -r "$d"; exit $r'
)
# For a script of root's that asks of several users: as_user SECONDS USER ARGV...
FUNCTION = f'as_user() {{ sh -c {shlex.quote(TAKE)} sh "$@"; }}'
# The user's own systemd, which may answer anything or nothing: it is asked as the user.
SYSTEMCTL = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user"


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


def of_each_manager(verb: str) -> str:
    """Have the systemd of each user that is running do this."""
    return (
        f'{FUNCTION}; for d in /run/user/*; do u=$(id -nu "${{d##*/}}") || continue; '
        f'as_user 60 "$u" sh -c \'[ ! -S /run/user/$(id -u)/systemd/private ] || '
        f"{SYSTEMCTL} {verb}' || true; done"
    )
