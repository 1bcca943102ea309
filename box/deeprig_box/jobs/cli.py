"""Jobs of the work user: begun, listed, followed and stopped; root or that user runs it.

start             reads JSON: name, command, gpu, environment, notebook; prints the job as JSON
list              all jobs as JSON
follow NAME [N]   `from N`, then its log from byte N on, until it ends
stop NAME         ends it, with all that it started; prints the job as JSON

Exit status 1 after one line on stderr that says what is so. It begins nothing twice.
"""

import os
import pwd
import shlex
import sys
from pathlib import Path

from deeprig_box.lib import bounded, place

CONF = Path("/etc/deeprig/notebook.conf")
MANAGER = place.script("user-manager")


def must(command: list[str]) -> None:
    done = bounded.run(command, english=False)  # tmux hands its language on to the jobs
    if done.code:
        sys.exit(f"`{shlex.join(command)}` failed: {done.last_words}")


def become_work_user() -> None:
    """Root becomes the user whose notebook it is, with what their own systemd gives a service."""
    if os.getuid() == 0:
        name = dict(line.split("=", 1) for line in CONF.read_text().split() if "=" in line)["user"]
        user = pwd.getpwnam(name)
        if sys.argv[1:] == ["start"]:
            must([MANAGER, name])  # what only looks starts nothing
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    user = pwd.getpwuid(os.getuid())
    kept = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
    runtime = f"/run/user/{user.pw_uid}"
    os.environ.clear()
    os.environ.update(
        kept, HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name, XDG_RUNTIME_DIR=runtime,
        DBUS_SESSION_BUS_ADDRESS=f"unix:path={runtime}/bus",
    )  # fmt: skip
    os.chdir(user.pw_dir)


def main() -> None:
    become_work_user()
    from deeprig_box.jobs import control  # it looks at the home of whoever runs it

    try:
        control.act()
    except BrokenPipeError:
        os._exit(0)  # whoever followed has gone
