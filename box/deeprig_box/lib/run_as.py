"""Run a program with a user's rights and pass on what it prints: as-user SECONDS USER ARGV...

Root runs it, for work that takes long: SECONDS is the most that it may take. Exit status: the
program's, or 1 after one line on stderr.
"""

import os
import pwd
import sys

from deeprig_box.lib import as_user

MOST_BYTES = 64 * 2**20
STREAMS = {"out": 1, "err": 2}


def main() -> None:
    try:
        seconds, name, *argv = sys.argv[1:]
        user = pwd.getpwnam(name)
        done = as_user.run(user, argv, seconds=float(seconds), most=MOST_BYTES, show=pass_on)
    except (ValueError, KeyError, IndexError):
        sys.exit("usage: as-user SECONDS USER ARGV...")
    except OSError as error:
        sys.exit(f"{error.strerror or error}.")
    sys.exit(done.code if done.code >= 0 else 128 - done.code)


def pass_on(stream: str, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(STREAMS[stream], piece) :]
