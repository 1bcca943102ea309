"""Run a program with a user's rights; nothing of root's but /dev/null is in its hands.

It has a session of its own, a fresh environment and pipes that are nobody else's. They are read
until the program itself ends, whoever still holds them then, and no longer than `seconds`.
"""

import os
import pwd
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from deeprig_box.lib import bounded

SECONDS = 60.0
MOST_BYTES = 4 * 2**20
CHUNK = 65536
PATH = "/usr/local/bin:/usr/bin:/bin"
Show = Callable[[str, bytes], None]


class Wrong(OSError):
    """It took too long or said too much, in words."""


class Done(NamedTuple):
    """What a program came to; `code` is negative where a signal ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")


def run(
    user: pwd.struct_passwd,
    argv: Sequence[str],
    *,
    seconds: float | None = SECONDS,
    most: int = MOST_BYTES,
    environment: dict[str, str] | None = None,
    show: Show | None = None,
) -> Done:
    """Its answer. `show` gets each piece, "out" or "err", as it comes, and it is not kept then.

    Raises Wrong, after everything in the program's process group has been killed.
    """
    fresh = {
        "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "PATH": PATH,
        "SHELL": user.pw_shell or "/bin/sh", "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": f"/run/user/{user.pw_uid}",
    }  # fmt: skip
    process = subprocess.Popen(
        list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=fresh | (environment or {}), cwd="/", start_new_session=True, umask=0o022,
        user=user.pw_uid, group=user.pw_gid,
        extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
    )  # fmt: skip
    try:
        return _take(process, argv[0], seconds, most, show)
    except BaseException:
        bounded.leave(process)
        raise
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def _take(
    process: subprocess.Popen[bytes], name: str, seconds: float | None, most: int, show: Show | None
) -> Done:
    parts = {"out": bytearray(), "err": bytearray()}
    end = None if seconds is None else time.monotonic() + seconds
    counted = 0
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(ended, selectors.EVENT_READ, "end")
            for kind, pipe in (("out", process.stdout), ("err", process.stderr)):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                waiting.register(pipe.fileno(), selectors.EVENT_READ, kind)
            over = False
            while not over:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise Wrong(f"{name} has not ended within {seconds:.0f} s")
                ready = waiting.select(left)
                over = any(key.data == "end" for key, _ in ready)
                # What was written before the end is in the pipe: one pipe holds no more than this.
                for key in list(waiting.get_map().values()):
                    if key.data == "end" or not (over or any(key is at for at, _ in ready)):
                        continue
                    for _ in range(16 if over else 1):
                        piece = _read(key.fd)
                        if piece == b"":
                            waiting.unregister(key.fd)
                        if not piece:
                            break
                        counted += len(piece)
                        if counted > most:
                            raise Wrong(f"{name} printed more than {most / 2**20:.0f} MiB")
                        if show:
                            show(key.data, piece)
                        else:
                            parts[key.data] += piece
    finally:
        os.close(ended)
    return Done(process.wait(), bytes(parts["out"]), bytes(parts["err"]))


def _read(pipe: int) -> bytes | None:
    """What is there; b"" where nobody can write any more, None where nothing came yet."""
    try:
        return os.read(pipe, CHUNK)
    except BlockingIOError:
        return None
