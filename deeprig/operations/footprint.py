"""What a component leaves on a box, and how it is taken out again."""

import shlex
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig.facts import workload
from deeprig.operations import core
from deeprig.operations.core import Commands
from deeprig.operations.facts import Shell
from deeprig.operations.packages import APT_GET, BROUGHT

# `--data force=now` on pyinfra's command line.
NOW = "now"
UNKNOWN = "what could not be looked at"
# apt would keep what another package merely recommends, and it was not there before.
AUTOREMOVE = (
    "apt-get -s -o APT::AutoRemove::RecommendsImportant=false "
    "-o APT::AutoRemove::SuggestsImportant=false autoremove | sed -n 's/^Remv \\([^ ]*\\).*/\\1/p'"
)


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """`files` are paths and shell patterns of what is deeprig's alone; `packages` are extended
    regular expressions for names, of which only what a deploy brought goes, `brought` a command
    that names more of those. `before` runs first, `after` at the end; `residue_check` is a script
    that prints a line as long as something else is left. `work` is an expression of lib/workload.py
    for what would end with it; `notice` is told beforehand: what is left, or cannot be put back.
    """

    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    brought: str = "true"
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    residue_check: str = "true"
    work: str = ""
    notice: str = ""

    def names(self) -> str:
        """A command that prints its packages that are installed and came with a deploy."""
        these = shlex.quote(f"package ({'|'.join(self.packages) or '-'})")
        return (
            f"{{ grep -sxE {these} {BROUGHT} | cut -d' ' -f2; {self.brought}; }} | sort -u | "
            "while read -r name; do dpkg-query -W -f '${db:Status-Status} ${Package}\\n' \"$name\" "
            "2>/dev/null | sed -n 's/^installed //p'; done"
        )

    def left(self) -> str:
        """A script that prints a line where something of it is left."""
        files = f"ls -d {' '.join(self.files)} 2>/dev/null" if self.files else "true"
        return f"{{ {files}; {self.names()}; {self.residue_check}; }} | head -n 1"

    def would_end(self) -> str:
        """A script that prints what runs and would end with it; UNKNOWN where it cannot tell."""
        ask = f"\nthere = processes()\nprint(', '.join({self.work}))\n"
        return f"python3 -IB - <<'END' || echo {shlex.quote(UNKNOWN)}\n{workload.SOURCE}{ask}END"

    def removal(self) -> str:
        """A script that takes all of it out; stops where something fails, and can go on."""
        off = [f"systemctl disable --now -q {unit} 2>/dev/null || true" for unit in self.units]
        files = [f"rm -rf --one-file-system {' '.join(self.files)}"] if self.files else []
        empty = [
            f"for d in $(dirname {path}); do [ ! -d $d ] || dpkg -S $d >/dev/null 2>&1 || "
            "rmdir --ignore-fail-on-non-empty $d; done"
            for path in self.files
            if path.startswith("/etc/")
        ]
        purge = [
            f"names=$({self.names()})",
            '[ -z "$names" ] || apt-mark -q auto $names >/dev/null',
            # What was needed until now; and what a run left that was cut off here.
            f"free=$({AUTOREMOVE})",
            'gone=$(echo "$free" | grep -vxF -e "$was" || true)',
            'gone="$gone $(echo "$free" | grep -xF -e "$names" || true)"',
            f'[ -z "${{gone# }}" ] || {APT_GET} purge $gone',
            f'for n in $names; do sed -i "/^package $n\\$/d" {BROUGHT}; done',
        ]
        reload = ["systemctl daemon-reload"] if self.units else []
        # What names the packages is among the files.
        steps = [*self.before, *off, *purge, *files, *empty, *reload, *self.after]
        return "\n".join(["set -e", f"was=$({AUTOREMOVE})", *steps])


def take_out(name: str, footprint: Footprint) -> None:
    """Have nothing of it on the box; say first what that leaves."""
    if not host.get_fact(Shell, script=footprint.left()):
        return
    if footprint.notice:
        core.say(host, f"Taking out {name}: {footprint.notice}.")
    _take_out(name=f"Take out {name}", component=name, footprint=footprint)


@operation()
def _take_out(component: str, footprint: Footprint) -> Commands:
    """Take it out, unless it is in use; then the next deploy does."""
    if not host.get_fact(Shell, script=footprint.left()):
        host.noop("nothing of it is left")
        return
    work = host.get_fact(Shell, script=footprint.would_end()) if footprint.work else ""
    if work and host.data.get("force") != NOW:
        if host.state.is_executing:
            core.say(
                host,
                f"{component} stays for now: there runs {work}; the next deploy takes it out, or "
                f"`--data force={NOW}` on this command.",
            )
        host.noop("left for later")
        return
    yield StringCommand("sh -s", _stdin=footprint.removal())
