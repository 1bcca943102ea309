"""The files deeprig puts on a box: asked for all at once, which costs less than five of them do."""

import shlex
from collections.abc import Iterator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.context import host

from deeprig import tree
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.facts import FileOnHost, FileState, Shell


def _paths() -> Iterator[str]:
    for source in ("files", "templates"):
        for file in tree.files(source):
            yield f"/{file.relative_to(tree.ROOT / source)}".removesuffix(".j2")


LOCKS = ("/opt/deeprig/uv.lock", "/opt/deeprig/notebook.lock")
PATHS = frozenset((*_paths(), *LOCKS, "/etc/pip.conf", "/etc/uv/uv.toml"))


def state(path: str) -> FileOnHost | None:
    """What is at this path on the box at work; None where nothing is."""
    if path in PATHS:
        ours: dict[str, FileOnHost] = host.get_fact(OwnFiles)
        return ours.get(path)
    file: FileOnHost | None = host.get_fact(FileState, path=path)
    return file


def of_others(*paths: str) -> set[str]:
    """Those of these paths where a file stands that is not ours, by its first line."""
    # Named are ours and those that are not there: no answer is no leave to write over anything.
    script = (
        f"for f in {shlex.join(paths)}; do {{ [ ! -s $f ] || head -n 1 $f | "
        "grep -q '^# Written by deeprig'; } && printf '%s ' $f; done"
    )
    return set(paths) - set(host.get_fact(Shell, script=script).split())


class OwnFiles(BoxFact[dict[str, FileOnHost]]):
    """What FileState says, for each path that this version may write and that is there."""

    default = dict

    def command(self) -> StringCommand:
        paths = [QuoteString(path) for path in sorted(PATHS)]
        return StringCommand(
            "set --", *paths, "; stat -L -c '%F|%U|%G|%a|%n' \"$@\" 2>/dev/null; "
            "sha256sum \"$@\" 2>/dev/null; true",
        )  # fmt: skip

    def process(self, output: list[str]) -> dict[str, FileOnHost]:
        about = [line.split("|") for line in output if "|" in line]
        sums = {
            path: digest for digest, _, path in (line.partition("  ") for line in output) if path
        }
        return {
            path: FileOnHost(kind, user, group, mode, sums.get(path, "-"))
            for kind, user, group, mode, path in about
        }
