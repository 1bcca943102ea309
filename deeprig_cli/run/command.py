"""`deeprig run`: a command or a notebook on a box, in a window that outlives the connection."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.ssh import openssh
from deeprig.ui import screen
from deeprig.ui.options import inventory_option, json_option, limit_option, usual_inventory
from deeprig_cli.run import report
from deeprig_cli.run.client import RUNS, Job, JobClient, Refused

IDLE = ("idle",)


@click.command()
@click.argument("host", required=False)
@click.argument("name", required=False)
@click.argument("command", nargs=-1)
@inventory_option
@limit_option
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    metavar="WHICH",
    default=IDLE,
    help="Its number or UUID, may be given again; or idle (the default), all, none.",
)
@click.option("--env", metavar="NAME", help="Which of ~/envs is first on PATH (default: base).")
@click.option("--list", "listing", is_flag=True, help="The jobs of HOST, or of every box.")
@click.option("--follow", metavar="NAME", help="Show a job's log until it ends.")
@click.option("--stop", metavar="NAME", help="End a job, with all that it started.")
@json_option
def run(
    host: str | None,
    name: str | None,
    command: tuple[str, ...],
    inventory: Path,
    limit: tuple[str, ...],
    gpus: tuple[str, ...],
    env: str | None,
    listing: bool,
    follow: str | None,
    stop: str | None,
    as_json: bool,
) -> None:
    """Run a job on HOST that goes on when you hang up.

    \b
    deeprig run HOST NAME -- COMMAND...      one word is a line for the shell
    deeprig run HOST NAME -- NOTEBOOK.ipynb  of this machine, or else of HOST
    deeprig run [HOST] --list
    deeprig run HOST --follow NAME
    deeprig run HOST --stop NAME

    It runs as the box's work user in a tmux window, with a log. Exits 0: begun, listed, stopped,
    or the followed job ended well; 1: it could not begin, or did not end well; 2: no answer.
    """
    _one_thing(name, command, listing=listing, follow=follow, stop=stop)
    limits = (*limit, host) if host else limit
    if listing:
        sys.exit(_list(inventories.load(inventory, limits), as_json=as_json))
    box = inventories.one(inventory, limits, "a job runs on one box")
    client = JobClient(*_with_notebook(box))
    try:
        if follow:
            job, code = _follow(client, follow, as_json=as_json)
        elif stop:
            job, code = client.stop(stop), 0
        else:
            assert name
            job = client.start(asked(name, command, gpus, env))
            code = 0 if job["state"] in (*RUNS, "done") else 1
    except Refused as refused:
        screen.echo(refused, err=True)
        sys.exit(1)
    finally:
        client.close()
    if as_json:
        screen.as_json(job)
    else:
        screen.echo(_page(job, box, inventory))
    sys.exit(code)


def asked(
    name: str, command: tuple[str, ...], gpus: tuple[str, ...], env: str | None
) -> dict[str, Any]:
    """What the box is told; a notebook that is here goes along."""
    here = Path(command[0]).expanduser()
    is_notebook = len(command) == 1 and here.suffix == ".ipynb" and here.is_file()
    return {
        "name": name,
        "command": list(command),
        "gpu": list(gpus),
        "environment": env,
        "notebook": _text(here) if is_notebook else None,
    }


def _text(notebook: Path) -> str:
    try:
        return notebook.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise DeeprigError(f"{notebook} cannot be read: {reason}; open it in JupyterLab.") from None


def _one_thing(
    name: str | None,
    command: tuple[str, ...],
    *,
    listing: bool,
    follow: str | None,
    stop: str | None,
) -> None:
    if sum((bool(name), listing, bool(follow), bool(stop))) != 1:
        raise click.UsageError("Take one of: NAME -- COMMAND, --list, --follow NAME, --stop NAME.")
    if name and not command:
        raise click.UsageError(f"What shall {name} run? Write: HOST {name} -- COMMAND.")


def _with_notebook(box: Box) -> Box:
    name, data = box
    if data["rig"].notebook is None:
        raise DeeprigError(f"{name} has notebook=None, and so no work user whose jobs could run.")
    return box


def _list(boxes: list[Box], *, as_json: bool) -> int:
    """Each box by itself; 2 where one of them does not answer."""
    jobs: list[Job] = []
    code = 0
    for box in boxes:
        client = JobClient(*box)
        try:
            _with_notebook(box)
            jobs += client.every()
        except DeeprigError as error:
            screen.echo(error, err=True)
            code = 2
        finally:
            client.close()
    if as_json:
        screen.as_json(jobs, indent=2)
    elif jobs:
        screen.echo(report.table(jobs))
    elif not code:
        screen.echo("no jobs")
    return code


def _follow(there: JobClient, name: str, *, as_json: bool) -> tuple[Job, int]:
    """With --json the log goes to stderr, so that stdout is one object."""
    out = sys.stderr.buffer if as_json else sys.stdout.buffer
    try:
        job = there.follow(name, out)
    except KeyboardInterrupt:
        screen.echo(f"\n{name} goes on; `--follow {name}` shows it again.", err=True)
        sys.exit(2)  # its end is not known
    return job, 0 if job["state"] == "done" else 1


def _page(job: Job, box: Box, inventory: Path) -> str:
    if job["state"] not in RUNS:
        return report.ended(job)
    name, data = box
    verb = f"deeprig run {name}"
    if inventory != usual_inventory():
        verb += f" --inventory {shlex.quote(str(inventory))}"
    tmux = ("tmux", "-L", "deeprig-jobs", "attach")
    attach = openssh.line(data, data["rig"].notebook.user, *tmux)
    return report.begun(job, attach, verb)
