"""The table of boxes in docs/seen_on.md, from what `deeprig verify --evidence` wrote.

`python -m tools.seen_on docs/evidence/*.json` prints it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from deeprig.errors import DeeprigError
from deeprig.ui import screen

HEAD = """\
| box | cards | seen | what held |
|---|---|---|---|"""
KINDS = {"systemd-nspawn": "container", "none": "real machine", "qemu": "VM", "kvm": "VM"}


def table(found: list[dict[str, Any]]) -> str:
    """A line for each box that was looked at, the newest first."""
    newest = sorted(found, key=lambda one: str(one["day"]), reverse=True)
    lines = [line(one, box) for one in newest for box in one["boxes"] if box["outputs"]]
    return "\n".join([HEAD, *lines])


def line(found: dict[str, Any], box: dict[str, Any]) -> str:
    said = box["outputs"]
    kind = KINDS.get(said["kind"].splitlines()[-1] if said["kind"] else "", said["kind"])
    lab = " of the lab" if said["lab"] else ""
    kernel = [f"kernel {release}" for release in said["kernel"].split()[1:2]]
    parts = [said["system"], *kernel, f"{kind}{lab}"]
    return (
        f"| {', '.join(parts)} | {cards(box)} | {found['day']}, tier `{found['tier']}`, "
        f"deeprig {found['deeprig']} | {results(box)} |"
    )


def cards(box: dict[str, Any]) -> str:
    """Which cards answered, and with which driver; fake ones are named as such."""
    rows = [row.split(", ") for row in box["outputs"]["nvidia-smi"].splitlines()[1:]]
    names = [f"{row[0]} with {row[1]}" for row in rows if len(row) > 2]
    if not names:
        return "none"
    fake = " (fake)" if any(check["fake"] for check in box["checks"]) else ""
    kinds = list(dict.fromkeys(names))
    return " and ".join(f"{names.count(kind)} x {kind}" for kind in kinds) + fake


def results(box: dict[str, Any]) -> str:
    """How many checks passed, and by name what failed or warned."""
    counts = ", ".join(f"{number} {word}" for word, number in sorted(box["counts"].items()))
    named = [
        f"{check['outcome']}: {check['component']}: {check['check']}"
        for check in box["checks"]
        if check["outcome"] in ("failed", "warned")
    ]
    return "; ".join([counts, *named])


def load(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        if found["form"] == 1:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DeeprigError(f"{file} is no evidence; `deeprig verify --evidence FILE` writes it.")


if __name__ == "__main__":
    try:
        screen.echo(table([load(Path(word)) for word in sys.argv[1:]]))
    except DeeprigError as error:
        sys.exit(str(error))
