"""A program for a box's own Python that uses our modules there."""

import shlex

FOLDER = "/usr/local/lib/deeprig"
# Neither the current folder nor a user's own packages nor PYTHONPATH: root may run it.
PYTHON = ["python3", "-IB"]


def command(program: str) -> str:
    """The command line; an error where our modules are not there."""
    return shlex.join([*PYTHON, "-c", f"import sys; sys.path.insert(0, {FOLDER!r}); {program}"])
