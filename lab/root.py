"""Containers need root: become it by sudo, and leave nobody's files in root's hands."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from lab import paths
from lab.errors import fail

# What makes root find the same files, and leads it to the same archives.
KEPT = ("HOME", "PATH", "XDG_CACHE_HOME", "XDG_STATE_HOME", "http_proxy", "https_proxy", "no_proxy")


P = ParamSpec("P")
R = TypeVar("R")


def needed(verb: Callable[P, R]) -> Callable[P, R]:
    """The verb, run as root: where we are not, this very command is run again under sudo."""

    @wraps(verb)
    def as_root(*args: P.args, **values: P.kwargs) -> R:
        become()
        try:
            return verb(*args, **values)
        finally:
            _give_back()

    return as_root


def become() -> None:
    """Go on as root. Raises DeeprigError where there is no sudo, or this is no Linux."""
    if sys.platform != "linux":
        fail("the lab needs Linux: run it there, or name a throwaway machine instead.")
    # Where people's PATH ends and root's tools begin: Debian leaves sbin out of the first.
    os.environ["PATH"] = (
        f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/local/sbin:/usr/sbin:/sbin"
    )
    if os.geteuid() == 0:
        return
    if not shutil.which("sudo"):
        fail("containers need root: run this as root, or install sudo.")
    asks = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    if asks and not sys.stdin.isatty():
        fail("containers need root, and sudo wants a password that nobody types here: use sudo.")
    kept = [f"{name}={os.environ[name]}" for name in KEPT if name in os.environ]
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execvp("sudo", ["sudo", "--", "env", *kept, *command])


def _give_back() -> None:
    """Make whoever called sudo the owner of the boxes' files, and of the folders on the way."""
    home = Path.home()
    if "SUDO_UID" not in os.environ or home.stat().st_uid != int(os.environ["SUDO_UID"]):
        return
    ends = [paths.images(), *paths.state().glob("*/")]
    folders = {folder for end in ends for folder in (end, *end.parents)}
    made = [path for path in folders if path.is_relative_to(home) and path.is_dir()]
    files = [file for file in paths.state().glob("*/*") if file.is_file()]
    for path in [*made, *files]:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
