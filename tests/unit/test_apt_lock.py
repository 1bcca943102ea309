"""Who holds apt's lock, by the kernel's own table of locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeprig.operations.package_facts import AptLockHolder

# Holds a lock on the file, as the user whose real and effective numbers these are.
HOLDER = """
import fcntl, os, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
os.setresuid(*map(int, sys.argv[2:]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone has locks of several users")
@pytest.mark.parametrize(
    ("numbers", "holds"),
    [
        (("0", "0", "0"), True),
        (("65534", "65534", "65534"), False),  # a file of that number on a file system of theirs
        (("65534", "0", "0"), False),  # and `su`, say, which they started with that lock
    ],
)
def test_who_has_a_file_of_that_number_locked_and_is_not_root_holds_nothing(
    tmp_path: Path, numbers: tuple[str, ...], holds: bool
) -> None:
    lock = tmp_path / "lock-frontend"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock), *numbers],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        asked = AptLockHolder().command().replace("/var/lib/dpkg/lock-frontend", str(lock))
        said = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True)
        assert (f"(process {holder.pid})" in said.stdout) is holds
    finally:
        holder.kill()
        holder.communicate()
