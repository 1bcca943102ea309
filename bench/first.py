"""A first run, from a fresh box: deeprig, and the bare commands in bench/first.sh (the floor)."""

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
from deeprig import data
from lab import boxes
from lab.inventory_file import CERTIFICATES
from tasks import archive

NAME = "bench-first"


def measure(system: str, times: int) -> list[dict[str, Any]]:
    """A row for each way; a fresh box for each run, in turns."""
    ways: dict[str, Callable[[boxes.Box], list[str]]] = {
        "bare commands": _bare,
        'deeprig, Rig(connection="fast")': lambda box: _deploy(box, "fast"),
        'deeprig, Rig(connection="ssh")': lambda box: _deploy(box, "ssh"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(times):
        for way, command in ways.items():
            box = boxes.up(NAME, os=system, kind="container")
            try:
                line = command(box)
                started = time.monotonic()
                subprocess.run(line, cwd=ROOT, check=True, stdout=sys.stderr)
                seconds[way].append(round(time.monotonic() - started, 1))
                print(f"first run, {way}: {seconds[way][-1]} s", file=sys.stderr, flush=True)
            finally:
                boxes.down(NAME)
    return [{"way": way, "seconds": found} for way, found in seconds.items()]


def _deploy(box: boxes.Box, kind: str) -> list[str]:
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    inventory = contenders.inventory_of(box, (box.host, box.port), kind)
    return [pyinfra, "-y", str(inventory), "deploy.py"]


def _bare(box: boxes.Box) -> list[str]:
    """Sends what the script needs, and gives the command that runs it."""
    packed = BytesIO()
    locks = ROOT / "deeprig/data/notebook"
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(ROOT / "bench/first.sh", "first/first.sh")
        tar.add(ROOT / "files", "first/files")
        for name in ("uv.lock", "notebook.lock"):
            tar.add(locks / name, f"first/locks/{name}")
        for file in CERTIFICATES.glob("*.crt"):
            tar.add(file.resolve(), f"first/ca/{file.name}")
    ssh, _ = boxes.ssh_command(box)  # the key is enough
    subprocess.run([*ssh, "tar xz -C /tmp"], input=packed.getvalue(), check=True)
    names = data.load("packages")
    wanted = {*names["tools"], *names["updates"], names["clock"]}
    wanted |= {*archive.UFW, *archive.VENV, *archive.SESSIONS}
    return [*ssh, f"sudo env PACKAGES='{' '.join(sorted(wanted))}' sh /tmp/first/first.sh"]
