"""What apt and dpkg say about a box. A command that ends in error
would fail the host, so where "nothing" is an answer it ends in `|| true`.
"""

from pyinfra.api.command import QuoteString, StringCommand

from deeprig.operations.box_fact import BoxFact


class PackageVersions(BoxFact[dict[str, str]]):
    """Name -> version of those that are fully installed; a package may carry a "=..."."""

    default = dict

    def command(self, packages: list[str]) -> StringCommand:
        return StringCommand(
            "dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\\n'",
            *(QuoteString(package.partition("=")[0]) for package in packages),
            "2>/dev/null || true",
        )

    def process(self, output: list[str]) -> dict[str, str]:
        rows = [line.split() for line in output]
        return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


class AptHolds(BoxFact[list[str]]):
    """The packages apt leaves at their version."""

    default = list

    def requires_command(self) -> str:
        return "apt-mark"

    def command(self) -> str:
        return "apt-mark showhold"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


BLANK = "[[:blank:]]"


class AptLockHolder(BoxFact[str]):
    """Who holds apt's or dpkg's lock, such as `unattended-upgr (process 812)`; empty if nobody."""

    default = str

    def command(self) -> str:
        # A lock is an fcntl lock on one of these inodes; /proc/locks says whose, without fuser. On
        # another file system anybody may lock a file of that number, and a lock lives on in a
        # setuid program that they start then; only who is root in all ways opens these.
        return (
            "for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock "
            "/var/cache/apt/archives/lock; do [ -e $f ] || continue; i=$(stat -c %i $f); "
            "while read -r _ _ _ _ pid where _; do "
            '[ "${where##*:}" = "$i" ] && [ "$pid" -gt 0 ] && '
            f"grep -qsx 'Uid:{BLANK}0{BLANK}0{BLANK}0{BLANK}0' /proc/$pid/status && "
            'echo "$(cat /proc/$pid/comm) (process $pid)"; '
            "done < /proc/locks; done | sort -u | head -n 1"
        )

    def process(self, output: list[str]) -> str:
        return output[0].strip()


class BrokenPackages(BoxFact[list[str]]):
    """What an interrupted dpkg left half done, as dpkg itself says it; empty if nothing."""

    default = list

    def command(self) -> str:
        return "ls /var/lib/dpkg/updates 2>/dev/null; dpkg --audit; true"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


class InstalledVersions(BoxFact[dict[str, str]]):
    """Name and exact version of the packages that somebody or something asked for by name."""

    default = dict

    def command(self) -> str:
        return (
            # As `apt-mark showmanual` has it, in a fiftieth of its time: it reads every index.
            "{ cat /var/lib/apt/extended_states 2>/dev/null; "
            "dpkg-query -W -f 'Here: ${db:Status-Status} ${Package} ${Version}\\n'; } | "
            """awk '$1 == "Package:" {p = $2} $1 == "Auto-Installed:" && $2 == 1 {auto[p] = 1} """
            """$1 == "Here:" && $2 == "installed" && !($3 in auto) {print $3, $4}'; """
            'for d in /opt/deeprig/*; do [ -L $d ] && echo "$d $(readlink $d)"; done; true'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        return {name: version for name, _, version in (line.partition(" ") for line in output)}
