"""What a job's window runs: the command as it was typed, or a notebook, in an environment."""

import shlex
import sys
import time
from pathlib import Path
from typing import NamedTuple

from deeprig_box.jobs.records import Job
from deeprig_box.lib import place

ENVIRONMENTS = Path.home() / "envs"
NOTEBOOKS = Path.home() / "notebooks"
USUAL = "base"
TOOLS = "/opt/deeprig/notebook"


class Notebook(NamedTuple):
    source: Path
    result: Path
    text: str | None  # of a notebook that was sent along


def environment(wanted: str | None) -> str | None:
    """Which of ~/envs is first on PATH: the one asked for, or else `base` if it is there."""
    name = wanted or USUAL
    if (ENVIRONMENTS / name / "bin").is_dir() and "/" not in name:
        return name
    if wanted:
        have = ", ".join(sorted(p.parent.name for p in ENVIRONMENTS.glob("*/bin"))) or "none"
        sys.exit(f"There is no environment {wanted!r} in ~/envs; there are: {have}.")
    return None


def notebook(job: Job, sent: str | None, command: list[str]) -> Notebook | None:
    """The notebook that the command is, and where it goes with its outputs."""
    if len(command) != 1 or not command[0].endswith(".ipynb"):
        return None
    name = Path(command[0])
    if sent is not None:
        source, folder = job.folder / "source.ipynb", NOTEBOOKS
    else:
        tried = [Path.home() / name.expanduser(), NOTEBOOKS / name]
        source = next((path for path in tried if path.is_file()), tried[0])
        folder = source.parent
        if not source.is_file():
            sys.exit(f"{name} is neither here nor in ~ or ~/notebooks there; check its path.")
    if not folder.is_dir():
        sys.exit(f"{folder} is not there, so the outputs could not be kept; is the disk mounted?")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Notebook(source, folder / f"{name.stem}.{job.name}-{stamp}.ipynb", sent)


def script(job: Job, command: list[str], visible: str | None, runs: Notebook | None) -> str:
    """For a login shell. A file, so that what was typed stands in no list of processes."""
    # Until then it is the start-up files' turn, and they may never come back (`exec zsh`).
    lines = [
        f": > {shlex.quote(str(job.begun))}",
        "unset TMUX TMUX_PANE TERM_PROGRAM TERM_PROGRAM_VERSION",
    ]
    name = job.read("job.json")["environment"]
    if name:
        folder = shlex.quote(str(ENVIRONMENTS / name))
        lines += [f"export VIRTUAL_ENV={folder}", f"export PATH={folder}/bin:$PATH"]
    if visible is not None:
        lines.append(f"export CUDA_VISIBLE_DEVICES={visible}")
    lines.append(f"export DEEPRIG_JOB={job.name}")
    if runs:
        words = [*place.command("notebook-run"), str(runs.source), str(runs.result)]
        # The real folder: new tools must not mix with those that it began with.
        lines.append(f'exec "$(readlink -f {TOOLS})/bin/python" -IB {shlex.join(words)}')
    else:
        lines.append(shlex.join(command) if command[1:] else command[0])
    return "\n".join(lines) + "\n"
