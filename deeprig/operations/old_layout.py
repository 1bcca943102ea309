"""A box of versions before there was a package: its hooks call the program, the loose files go."""

from pathlib import Path
from typing import NamedTuple

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import tree
from deeprig.operations import files, managed_files
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.ssh import as_user
from deeprig.ssh.box_source import SCRIPTS

TOP = "/usr/local/lib/deeprig"
ASK = Path(__file__).with_suffix(".sh").read_text()
# They run for as long as a notebook or a job does, and need none of the others.
LASTING = {"notebook-window", "job", "job-window", "notebook-run"}
# tmux starts it anew, by its path, should it be killed.
NEEDED = {"notebook-window"}
# What the watch knows GPUs' errors by; where it is left alone, nobody else brings it.
XIDS = "gpu_xids.json"
KEEP_XIDS = (
    "[ -e /etc/deeprig/gpu-xids.json ] || [ ! -e /etc/systemd/system/deeprig-watch.service ] || "
    f"mv {TOP}/{XIDS} /etc/deeprig/gpu-xids.json"
)
RUN = ("/etc/kernel/", "/etc/initramfs-tools/", "/etc/NetworkManager/dispatcher.d/")


class Left(NamedTuple):
    """What is there, what calls it, and what a process was started from."""

    files: frozenset[str] = frozenset()
    hooks: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()

    @property
    def goes(self) -> list[str]:
        """What can go now: nothing where one is at work that may call another."""
        if not self.used <= LASTING:
            return []
        return sorted(self.files - (self.used & NEEDED))


class OldLayout(BoxFact[Left]):
    """What is left of the old layout on the box."""

    default = Left

    def command(self) -> StringCommand:
        hooks = [path for path in sorted(managed_files.PATHS) if path.startswith("/etc/")]
        return StringCommand("sh -c", QuoteString(ASK), "sh", *map(QuoteString, hooks))

    def process(self, output: list[str]) -> Left:
        rows = [line.partition(" ")[::2] for line in output]
        files, hooks, used = (
            frozenset(name for kind, name in rows if kind == chosen)
            for chosen in ("file", "hook", "used")
        )
        return Left(files, hooks & managed_files.PATHS, used)


@operation()
def leave() -> Commands:
    """No loose file of ours, and nothing that calls one; a part that is left alone is moved too."""
    left: Left = host.get_fact(OldLayout)
    if not left.hooks and not left.goes:
        host.noop("nothing of it is left")
        return
    for path in sorted(left.hooks):
        source = tree.ROOT / "files" / path.lstrip("/")
        if source.exists():
            mode = "755" if path.startswith(RUN) else "644"
            yield from files.put._inner(dest=path, content=source.read_text(), mode=mode)
        else:  # from a template: it calls one of those that need no Python
            old, new = TOP.replace("/", "\\/"), SCRIPTS.replace("/", "\\/")
            change = f"s/{old}\\/\\(wake-on-lan\\|notebook-window\\)/{new}\\/\\1/g"
            yield StringCommand("sed -i", QuoteString(change), QuoteString(path))
    yield StringCommand("systemctl daemon-reload")
    # A service of a user's that is left alone would be started again by its old path.
    yield StringCommand(as_user.of_each_manager("daemon-reload"))
    if XIDS in left.goes:
        yield StringCommand(KEEP_XIDS)
    if left.goes:
        yield StringCommand(f"cd {TOP} && rm -rf", *map(QuoteString, left.goes))
