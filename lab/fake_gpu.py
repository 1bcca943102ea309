"""Fake cards on a box without one, for the readers and the live checks: a thin nvidia-smi, and what
else would be in /proc and /sys. What is seen through them counts for nothing but that.
"""

import io
import os
import shlex
import subprocess
import tarfile

from lab import boxes, fake_gpu_files
from lab.errors import fail
from lab.fake_gpu_files import FOLDER, PROGRAM, REMARK, Values

# Only where this is do the survey, the checks and the watch look into FOLDER.
MARKER = "/etc/deeprig-lab"
DRIVER = "580.178.04"


def put(
    box: boxes.Box, profile: str, *, driver: str = DRIVER, values: Values | None = None
) -> None:
    """Let the box have the cards of a profile; `values` are nvidia-smi's fields of every card that
    are to be different. Raises DeeprigError where there is no such profile.
    """
    made = fake_gpu_files.files(profile, driver=driver, values=values or {})
    take_out(box)
    _sudo(box, f"[ -e {MARKER} ] || echo '{REMARK}' > {MARKER}")
    _sudo(box, "tar --extract --directory / --no-same-owner", stdin=_archive(made))


def take_out(box: boxes.Box) -> None:
    """No fake card is left on the box."""
    _sudo(
        box,
        f"rm -rf {FOLDER} /run/deeprig-lab-gpu-limits.json; grep -qs 'deeprig' {PROGRAM} && "
        f"rm {PROGRAM}; grep -qs 'fake cards' {MARKER} && rm {MARKER}; true",
    )


def _archive(made: dict[str, str]) -> bytes:
    """The files as a tar, links among them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in made.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode = 0o755 if path == PROGRAM else 0o644
            if text.startswith("->"):
                entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("->")
                archive.addfile(entry)
                continue
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def _sudo(box: boxes.Box, command: str, *, stdin: bytes = b"") -> None:
    login, environment = boxes.ssh_command(box)
    done = subprocess.run(
        [*login, f"sudo sh -c {shlex.quote(command)}"],
        input=stdin, capture_output=True, check=False, env=os.environ | environment,
    )  # fmt: skip
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip() or "it said nothing"
        fail(f"no fake cards on {box.name}: {complaint.splitlines()[-1]}")
