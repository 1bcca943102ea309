"""`deeprig verify --evidence`: what was seen on a box, to be sent on."""

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paramiko

from deeprig import __version__, catalog, tree
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.ssh import bounded, connection, root_shell
from deeprig_cli.verify import scrub
from deeprig_cli.verify.runner import Check

SECONDS = 60
FORM = 1  # of the file; another number where what reads it would read it wrong


def collect(boxes: list[Box], checks: list[Check], tier: str) -> dict[str, Any]:
    """All of it, without what names a person, an address or a single device."""
    known = scrub.words(boxes)
    everything = {
        "form": FORM,
        "deeprig": f"{__version__} {_commit()}".strip(),
        "day": datetime.now(UTC).date().isoformat(),
        "tier": tier,
        "boxes": [_box(name, host, checks) for name, host in boxes],
    }
    clean: dict[str, Any] = scrub.everywhere(everything, known)
    return clean


def write(file: Path, found: dict[str, Any]) -> None:
    """Raises DeeprigError where it cannot be written."""
    try:
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DeeprigError(f"{file} cannot be written: {error.strerror}.") from None


def _box(name: str, host: dict[str, Any], checks: list[Check]) -> dict[str, Any]:
    own = [check for check in checks if check.host == name]
    return {
        "outputs": _outputs(host),
        "counts": dict(Counter(check.outcome for check in own)),
        "checks": [
            {k: v for k, v in check.to_json().items() if k not in ("host", "seconds")}
            for check in own
        ],
    }


def _outputs(host: dict[str, Any]) -> dict[str, str]:
    """What each command says; nothing of a box that does not answer, which its checks say."""
    try:
        with connection.connect(host) as client:
            transport = client.get_transport()
            assert transport is not None
            return {
                row["name"]: _said(transport, _command(row))
                for row in catalog.load("evidence")["output"]
            }
    except DeeprigError:
        return {}


def _command(row: dict[str, Any]) -> str:
    """In shell; a program that may hang in the kernel gets less time than all of it."""
    if "program" in row:
        return bounded.command(*row["program"], seconds=SECONDS // 3)
    return str(row["command"])


def _said(transport: paramiko.Transport, command: str) -> str:
    # On stdin: a shell's own quoting is enough then, whatever sudo and login shell are there.
    script = f"export LC_ALL=C.UTF-8; {{ {command}\n}} 2>/dev/null </dev/null | head -c 20000\n"
    done = root_shell.run(transport, "sudo -n sh -s", stdin=script, seconds=SECONDS)
    return done.out.strip()


def _commit() -> str:
    """Of the checkout, with + where it was changed; empty where there is none, or no git."""
    if tree.INSTALLED:
        return ""  # a repository that it was installed into is somebody's own
    git = ["git", "-C", str(tree.ROOT), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
