"""The parts for drivers of the archives that a box already uses, in one file of ours."""

import shlex
from collections.abc import Iterable
from typing import NamedTuple

from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig.operations import core, files
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.operations.facts import FileState
from deeprig.operations.packages import INDEX, NAME_SOURCES, read_index

SOURCES = "/etc/apt/sources.list.d/deeprig-nonfree.sources"
HEADER = "# Written by deeprig (deeprig/operations/apt_components.py): edit it there.\n"
# Where drivers are, and CUDA. Ubuntu's installer lists these; Debian's does not.
COMPONENTS = {
    "Debian": ("contrib", "non-free", "non-free-firmware"),
    "Ubuntu": ("restricted", "multiverse"),
}


class Source(NamedTuple):
    """One component that apt takes packages from."""

    uri: str
    suite: str
    component: str
    signed_by: str
    origin: str = "Debian"


class ArchiveSources(BoxFact[list[Source]]):
    """What apt takes from the distribution's own archives for this release, by files not ours."""

    default = list

    def command(self) -> str:
        fields = "|".join(
            f"$({field})"
            for field in ("SOURCESENTRY", "ORIGIN", "CODENAME", "REPO_URI", "RELEASE",
                          "COMPONENT", "SIGNED_BY")
        )  # fmt: skip
        return (
            ". /etc/os-release; apt-get indextargets "
            f"--format '{fields}' 'Created-By: Packages' | grep -vF '{SOURCES}:' | "
            'awk -F"|" -v c="$VERSION_CODENAME" '
            '\'($2 == "Debian" || $2 == "Ubuntu") && ($3 == c || index($3, c "-") == 1)\' || true'
        )

    def process(self, output: list[str]) -> list[Source]:
        rows = [line.strip().split("|") for line in output if line.count("|") == 6]
        return [
            Source(uri, suite, component, "" if key.startswith("$(") else key, origin)
            for _, origin, _, uri, suite, component, key in rows
            if not uri.startswith("cdrom:")  # what the installer ran from
        ]


def text(sources: Iterable[Source]) -> str:
    """The deb822 file that adds what is missing of COMPONENTS to each archive; "" for nothing."""
    every = list(sources)
    stanzas: dict[tuple[str, str, str], list[str]] = {}
    archives = dict.fromkeys((s.uri, s.suite, s.signed_by, s.origin) for s in every)
    for uri, suite, key, origin in archives:
        components = {s.component for s in every if (s.uri, s.suite) == (uri, suite)}
        missing = " ".join(name for name in COMPONENTS[origin] if name not in components)
        if missing and "main" in components:
            suites = stanzas.setdefault((uri, key, missing), [])
            if suite not in suites:
                suites.append(suite)
    blocks = []
    for (uri, key, missing), suites in stanzas.items():
        lines = ["Types: deb", f"URIs: {uri}", f"Suites: {' '.join(suites)}"]
        lines += [f"Components: {missing}", *([f"Signed-By: {key}"] if key else [])]
        blocks.append("\n".join(lines) + "\n")
    return HEADER + "\n".join(blocks) if blocks else ""


@operation()
def enable(package: str) -> Commands:
    """Have all components of the distribution's archives that `package` may be in, and know it."""
    sources: list[Source] = host.get_fact(ArchiveSources)
    if not sources:  # apt knows whose archive it is once it has read the lists
        yield StringCommand(read_index())
        sources = host.get_fact(ArchiveSources)
    if not sources and host.state.is_executing:
        yield core.Step(_no_archive)
        return
    stanzas = text(sources)
    exists = host.get_fact(FileState, path=SOURCES) is not None
    if stanzas:
        yield from files.put._inner(dest=SOURCES, content=stanzas)
    elif exists:
        yield StringCommand(f"rm {SOURCES}")
    # It ends with 0 also for a name that others only mention.
    named = shlex.quote(package)
    known = f"apt-cache show --no-all-versions {named} 2>/dev/null | grep -m 1 '^Package:'"
    named_sources = f"[ ! -s {INDEX} ] || {{ {known}; }} || {NAME_SOURCES}"
    yield from core.shell._inner(unless=known, commands=[read_index(), named_sources])


def _no_archive(state: State, host: Host) -> bool:
    core.say(
        host,
        "apt takes nothing from the distribution's own archive there; put a line such as `deb "
        "http://YOUR-MIRROR/debian bookworm main` for its release into /etc/apt/sources.list.",
        wrong=True,
    )
    return False
