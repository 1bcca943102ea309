"""The program on a box (box/): one archive, put there in one step; how it is called."""

import base64
import functools
import gzip
import hashlib
import io
import shlex
import tarfile
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import tree
from deeprig.operations.core import Commands
from deeprig.operations.facts import Shell
from deeprig.ssh.box_source import BOX, FOLDER, SCRIPTS

__all__ = ["BOX", "SCRIPTS", "archive", "command", "files", "put", "tidy"]
SOURCE = tree.ROOT / "box"
PUT = Path(__file__).with_suffix(".sh").read_text()
# Neither the current folder nor a user's own packages nor PYTHONPATH: root may run it.
PYTHON = ["python3", "-ISB"]


def command(program: str) -> str:
    """The command line of a program that uses the box's modules; an error where they are not."""
    return shlex.join([*PYTHON, "-c", f"import sys; sys.path.insert(0, {FOLDER!r}); {program}"])


def files(source: Path = SOURCE) -> list[Path]:
    """What of box/ goes to a box, and nothing that tools leave there."""
    return [
        source / "deeprig-box",
        *sorted((source / "bin").iterdir()),
        *sorted((source / "deeprig_box").rglob("*.py")),
    ]


@functools.cache
def archive(source: Path = SOURCE) -> tuple[str, bytes]:
    """A name for all that is in box/, which the box can make too; and an archive of it."""
    names = {f"./{path.relative_to(source)}": path.read_bytes() for path in files(source)}
    modes = {name: 0o644 if Path(name).suffix else 0o755 for name in names}
    told = [f"{modes[name]:o} {name}\n" for name in sorted(names)]
    told += [f"{hashlib.sha256(names[name]).hexdigest()}  {name}\n" for name in sorted(names)]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), modes[name]
            tar.addfile(entry, io.BytesIO(content))
    return hashlib.sha256("".join(told).encode()).hexdigest()[:16], packed.getvalue()


@operation()
def put(source: Path = SOURCE) -> Commands:
    """Have this version of the program on the box; what runs goes on with the one it began with."""
    name, content = archive(source)
    if host.get_fact(Shell, script=_script("stands", name)):
        host.noop("it is there")
        return
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    yield StringCommand(_script("put", name), _stdin=packed)


@operation()
def tidy() -> Commands:
    """No folder of an earlier version that no process uses."""
    if not host.get_fact(Shell, script=_script("left")):
        host.noop("nothing is left")
        return
    yield StringCommand(_script("tidy"))


def _script(*words: str) -> str:
    return shlex.join(["sh", "-c", PUT, "sh", *words])
