"""What `deeprig run` prints for people: a job in a sentence, and all jobs as a table."""

import click

from deeprig.ui.visible import visible
from deeprig_cli.run.client import Job

COLOURS = {"running": "green", "failed": "red", "lost": "red", "stopped": "yellow"}
WIDEST_COMMAND = 60


def begun(job: Job, attach: str, verb: str) -> str:
    """What was started, where it runs, and the ways to see and to end it."""
    lines = [f"{job['name']} runs on {job['host']}{_where(job)}. It goes on when you hang up."]
    if job["notebook"]:
        lines.append(f"  kept with its outputs: {job['notebook']}")
    lines += [
        f"  {verb} --follow {job['name']}",
        f"  {verb} --stop {job['name']}",
        f"  {attach}",
    ]
    return "\n".join(lines)


def ended(job: Job) -> str:
    """How it ended, in one sentence."""
    where = f"{job['name']} on {job['host']}"
    if job["state"] == "lost":
        return f"{where} was cut off: the box or its window went away; its log is {job['log']}."
    words = {"done": "is done", "failed": "failed", "stopped": "was stopped"}[job["state"]]
    status = f" with status {job['status']}" if job["status"] and job["state"] == "failed" else ""
    last_line = f': "{job["said"]}"' if job["state"] == "failed" and job["said"] else ""
    kept = f" Its outputs are in {job['notebook']}." if job["notebook"] else ""
    return f"{where} {words}{status} after {span(job['seconds'])}{last_line}.{kept}"


def table(jobs: list[Job]) -> str:
    """Each box's jobs, the last begun last."""
    rows = [
        (
            job["host"],
            job["name"],
            state(job),
            span(job["seconds"]),
            ",".join(card["index"] for card in job["gpus"]) or "-",
            shortened(job["command"]),
        )
        for job in jobs
    ]
    heads = ("box", "job", "state", "for", "GPU", "command")
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]
    lines = [_line(heads, widths)]
    for job, row in zip(jobs, rows, strict=True):
        lines.append(click.style(_line(row, widths), fg=COLOURS.get(job["state"])))
    return "\n".join(lines)


def state(job: Job) -> str:
    failed = job["state"] == "failed" and job["status"] is not None
    return f"failed ({job['status']})" if failed else str(job["state"])


def span(seconds: float | None) -> str:
    """42 s, 5 min, 3 h 20 min, 2 d 4 h; "-" where it is not known."""
    if seconds is None:
        return "-"
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"


def shortened(command: str) -> str:
    line = visible(" ".join(command.split()))
    return line if len(line) <= WIDEST_COMMAND else f"{line[: WIDEST_COMMAND - 3]}..."


def _where(job: Job) -> str:
    on = " and ".join(f"GPU {card['index']} ({card['name']})" for card in job["gpus"])
    inside = f", in ~/envs/{job['environment']}" if job["environment"] else ""
    return f", on {on}{inside}" if on else f", without a GPU{inside}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
