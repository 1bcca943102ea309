"""Commands on this machine, with an error a person can act on."""

import subprocess

from lab.errors import fail


def run(*command: str, stdin: str = "") -> str:
    """What the command printed. Raises DeeprigError with its last complaint where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        fail(f"`{' '.join(command)}` failed (exit {done.returncode}): {complaint}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether the command exits 0; what it prints is thrown away."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
