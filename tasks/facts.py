"""Questions about a host that pyinfra has no fact for."""

import hashlib
import json
import shlex
from typing import Any, NamedTuple

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

from deeprig import survey


class FileOnHost(NamedTuple):
    kind: str
    user: str
    group: str
    mode: str
    sha256: str


class FileState(FactBase[FileOnHost | None]):
    """Kind, owner, mode and SHA-256 of one file; None where nothing is at that path."""

    def command(self, path: str) -> StringCommand:
        file = QuoteString(path)
        return StringCommand(
            "! test -e", file, "|| { stat -L -c '%F|%U|%G|%a'", file, "&& if test -f", file,
            "; then sha256sum <", file, "; else echo -; fi; }",
        )  # fmt: skip

    def process(self, output: list[str]) -> FileOnHost:
        kind, user, group, mode = output[0].split("|")
        return FileOnHost(kind, user, group, mode, output[1].split()[0])


class LinkTarget(FactBase[str]):
    """Where a symbolic link points; empty where there is none."""

    default = str

    def command(self, path: str) -> StringCommand:
        return StringCommand("readlink", QuoteString(path), "|| true")

    def process(self, output: list[str]) -> str:
        return output[0]


class InstalledPackages(FactBase[set[str]]):
    """Those of the named Debian packages that are fully installed."""

    default = set

    def command(self, packages: list[str]) -> StringCommand:
        return StringCommand(
            "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'",
            *(QuoteString(package) for package in packages),
            "2>/dev/null || true",
        )

    def process(self, output: list[str]) -> set[str]:
        pairs = (line.split(" ", 1) for line in output if " " in line)
        return {name for name, status in pairs if status == "installed"}


class AptHolds(FactBase[list[str]]):
    """The packages apt leaves at their version."""

    default = list

    def requires_command(self) -> str:
        return "apt-mark"

    def command(self) -> str:
        return "apt-mark showhold"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


class DebconfAnswers(FactBase[dict[str, str]]):
    """The answers on record for a package's installation questions."""

    default = dict

    def command(self, package: str) -> StringCommand:
        return StringCommand("debconf-show", QuoteString(package), "2>/dev/null || true")

    def process(self, output: list[str]) -> dict[str, str]:
        pairs = (line.lstrip("* ").partition(":") for line in output)
        return {question.strip(): answer.strip() for question, colon, answer in pairs if colon}


class BootId(FactBase[str]):
    """The kernel's name for this boot; another one after every reboot."""

    default = str

    def command(self) -> str:
        return "cat /proc/sys/kernel/random/boot_id"

    def process(self, output: list[str]) -> str:
        return output[0].strip()


class AptLockHolder(FactBase[str]):
    """Who holds apt's or dpkg's lock, such as `unattended-upgr (process 812)`; empty if nobody."""

    default = str

    def command(self) -> str:
        # A lock is an fcntl lock on one of these inodes; /proc/locks says whose, without fuser.
        return (
            "for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock "
            "/var/cache/apt/archives/lock; do [ -e $f ] || continue; i=$(stat -c %i $f); "
            "while read -r _ _ _ _ pid where _; do "
            '[ "${where##*:}" = "$i" ] && [ "$pid" -gt 0 ] && '
            'echo "$(cat /proc/$pid/comm) (process $pid)"; '
            "done < /proc/locks; done | sort -u | head -n 1"
        )

    def process(self, output: list[str]) -> str:
        return output[0].strip()


class BrokenPackages(FactBase[list[str]]):
    """What an interrupted dpkg left half done, as dpkg itself says it; empty if nothing."""

    default = list

    def command(self) -> str:
        return "ls /var/lib/dpkg/updates 2>/dev/null; dpkg --audit; true"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


class Shell(FactBase[str]):
    """The first line that a read-only script prints; empty if none, or if it ends in error."""

    default = str

    def command(self, script: str) -> StringCommand:
        return StringCommand("sh -c", QuoteString(script), "2>/dev/null || true")

    def process(self, output: list[str]) -> str:
        return output[0].strip()


class HostSurvey(FactBase[survey.Survey]):
    """What the box is before anything is changed, in one question."""

    default = survey.Survey

    def command(self, users: str, clocks: str) -> StringCommand:
        script = f"USERS='{users}' CLOCKS='{clocks}'\n{survey.SCRIPT}"
        return StringCommand("sh -c", QuoteString(script))

    def process(self, output: list[str]) -> survey.Survey:
        return survey.read(output)


class Access(NamedTuple):
    """The way in as it is: files (SHA-256 and mode), names of our ufw rules, a proof owed."""

    files: dict[str, str]
    rules: list[str]
    firewall_on: bool
    pending: bool

    def differs(self, path: str, content: str) -> bool:
        """True where the file must be written, or taken away if `content` is empty."""
        wanted = f"{hashlib.sha256(content.encode()).hexdigest()} 644" if content else "-"
        return self.files.get(path, "-") != wanted


class AccessState(FactBase[Access]):
    """sshd's and ufw's settings, in one question."""

    @staticmethod
    def default() -> Access:
        return Access({}, [], False, False)

    def command(self, paths: list[str]) -> str:
        return (
            f'for f in {shlex.join(paths)}; do [ -f $f ] || {{ echo "file $f -"; continue; }}; '
            'echo "file $f $(sha256sum < $f | cut -c1-64) $(stat -c %a $f)"; done; '
            "[ -e /var/lib/deeprig/access/pending ] && echo pending; "
            "command -v ufw >/dev/null || exit 0; "
            "ufw show added | sed -n \"s/.* comment 'deeprig \\(.*\\)'$/rule \\1/p\"; "
            "ufw status | grep -q '^Status: active' && "
            'for p in INPUT_POLICY=\\"DROP OUTPUT_POLICY=\\"ACCEPT FORWARD_POLICY=\\"ACCEPT; do '
            'grep -q "^DEFAULT_$p" /etc/default/ufw || exit 0; done && echo firewall on; true'
        )

    def process(self, output: list[str]) -> Access:
        lines = [line.strip().split(" ", 1) for line in output]
        files = (rest[0].split(" ", 1) for word, *rest in lines if word == "file")
        return Access(
            files={path: state for path, state in files},
            rules=[rest[0] for word, *rest in lines if word == "rule"],
            firewall_on=["firewall", "on"] in lines,
            pending=["pending"] in lines,
        )


class InstalledVersions(FactBase[dict[str, str]]):
    """Name and exact version of the packages that somebody or something asked for by name."""

    default = dict

    def command(self) -> str:
        return (
            "apt-mark showmanual | "
            "xargs -r dpkg-query -W -f '${Package} ${Version}\\n' 2>/dev/null; "
            'for d in /opt/deeprig/*; do [ -L $d ] && echo "$d $(readlink $d)"; done; true'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        return {name: version for name, _, version in (line.partition(" ") for line in output)}


class Manifest(FactBase[dict[str, Any]]):
    """What the last run wrote down on the box; empty where there was none."""

    default = dict

    def command(self, path: str) -> StringCommand:
        return StringCommand("cat", QuoteString(path), "2>/dev/null || true")

    def process(self, output: list[str]) -> dict[str, Any]:
        try:
            found = json.loads("\n".join(output))
        except ValueError:
            return {}  # a file that somebody edited by half is written anew
        return found if isinstance(found, dict) else {}


class MayBecomeRoot(FactBase[bool]):
    """Whether this login is root, or gets there without typing a password."""

    default = bool

    def command(self) -> str:
        return "{ [ $(id -u) = 0 ] || sudo -n true; } 2>/dev/null && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output[0].strip() == "yes"
