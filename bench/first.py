"""A first run, from a fresh box: deeprig, and the bare commands in bench/first.sh (the floor)."""

import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from bench import contenders
from bench.contenders import ROOT
from deeprig import catalog
from lab import boxes
from lab.inventory_file import CERTIFICATES
from tasks import base_packages

NAME = "bench-first"
# What apt and uv keep of what they fetched: root's, and that of whoever computes there.
PACK = (
    "sudo tar c -C / --exclude=lock var/cache/apt/archives opt/deeprig/cache "
    "--no-recursion mnt/data-disk/ai mnt/data-disk/ai/cache --recursion mnt/data-disk/ai/cache/uv"
)
Command = Callable[[boxes.Box], list[str]]


def measure(system: str, times: int, without: str | None) -> list[dict[str, Any]]:
    """A row for each way; a fresh box for each run, in turns, with what a run fetches at hand.

    The first run of each way, which is not counted, fetches it. `without` leaves out the ways that
    have this in their names.
    """
    ways: dict[str, Command] = {
        "bare commands": _bare,
        'deeprig, Rig(connection="fast")': lambda box: _deploy(box, "fast"),
        'deeprig, Rig(connection="ssh")': lambda box: _deploy(box, "ssh"),
    }
    ways = {way: command for way, command in ways.items() if not without or without not in way}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    fetched = {way: b"" for way in ways}
    for _ in range(times + 1):
        for way, command in ways.items():
            box = boxes.up(NAME, os=system, kind="container")
            try:
                warm = bool(fetched[way])
                took = _run(box, command, fetched[way])
                fetched[way] = fetched[way] or _on(box, PACK)
            finally:
                boxes.down(NAME)
            seconds[way] += [took] if warm else []
            how = "" if warm else ", nothing at hand"
            print(f"first run{how}, {way}: {took} s", file=sys.stderr, flush=True)
    return [
        {"way": way, "seconds": statistics.median(found), "runs": found}
        for way, found in seconds.items()
    ]


def _run(box: boxes.Box, command: Command, fetched: bytes) -> float:
    """Seconds, with what was fetched before lying there."""
    if fetched:
        _on(box, "sudo tar x -C / && sync", fetched)
    line = command(box)
    started = time.monotonic()
    subprocess.run(line, cwd=ROOT, check=True, stdout=sys.stderr)
    return round(time.monotonic() - started, 1)


def _on(box: boxes.Box, command: str, sent: bytes = b"") -> bytes:
    """What a command says, as the deploy user."""
    ssh, _ = boxes.ssh_command(box)  # the key is enough
    return subprocess.run([*ssh, command], input=sent, check=True, stdout=subprocess.PIPE).stdout


def _deploy(box: boxes.Box, kind: str) -> list[str]:
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    inventory = contenders.inventory_of(box, (box.host, box.port), kind)
    return [pyinfra, "-y", str(inventory), "deploy.py", "--data", "timeline=yes"]


def _bare(box: boxes.Box) -> list[str]:
    """Sends what the script needs, and gives the command that runs it."""
    packed = BytesIO()
    locks = ROOT / "deeprig/catalog/notebook"
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(ROOT / "bench/first.sh", "first/first.sh")
        tar.add(ROOT / "files", "first/files")
        for name in ("uv.lock", "notebook.lock"):
            tar.add(locks / name, f"first/locks/{name}")
        for file in CERTIFICATES.glob("*.crt"):
            tar.add(file.resolve(), f"first/ca/{file.name}")
    _on(box, "tar xz -C /tmp", packed.getvalue())
    names = catalog.load("packages")
    wanted = {*names["tools"], *names["updates"], names["clock"]}
    wanted |= {*base_packages.UFW, *base_packages.VENV, *base_packages.SESSIONS}
    ssh, _ = boxes.ssh_command(box)
    return [*ssh, f"sudo env PACKAGES='{' '.join(sorted(wanted))}' sh /tmp/first/first.sh"]
