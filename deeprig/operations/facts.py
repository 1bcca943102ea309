"""Questions about a host that pyinfra has no fact for. A command that ends in error
would fail the host, so where "nothing" is an answer it ends in `|| true`.
"""

import json
import shlex
from typing import Any, NamedTuple

from pyinfra.api.command import QuoteString, StringCommand

from deeprig.facts import changes, reinstall, survey
from deeprig.operations.box_fact import BoxFact
from deeprig.parsers import untrusted
from deeprig.preflight import conditions
from deeprig.settings import DEPLOY_USER


class FileOnHost(NamedTuple):
    kind: str
    user: str
    group: str
    mode: str
    sha256: str


class FileState(BoxFact[FileOnHost | None]):
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


class LinkTarget(BoxFact[str]):
    """Where a symbolic link points; empty where there is none."""

    default = str

    def command(self, path: str) -> StringCommand:
        return StringCommand("readlink", QuoteString(path), "|| true")

    def process(self, output: list[str]) -> str:
        return output[0]


class BootId(BoxFact[str]):
    """The kernel's name for this boot; another one after every reboot."""

    default = str

    def command(self) -> str:
        return "cat /proc/sys/kernel/random/boot_id"

    def process(self, output: list[str]) -> str:
        return untrusted.boot_id(output[0].strip())


class Shell(BoxFact[str]):
    """The first line that a read-only script prints; empty if none, or if it ends in error."""

    default = str

    def command(self, script: str) -> StringCommand:
        # An error is an answer here: nothing. A fork, for a shell of its own would cost more.
        return StringCommand(f"(\n{script}\n) 2>/dev/null || true")

    def process(self, output: list[str]) -> str:
        return output[0].strip()


class HostSurvey(BoxFact[survey.Survey]):
    """What the box is before anything is changed, in one question."""

    default = survey.Survey

    def command(self, script: str) -> StringCommand:
        return StringCommand("sh -c", QuoteString(script))

    def process(self, output: list[str]) -> survey.Survey:
        return survey.read(output)


class WouldErase(BoxFact[reinstall.ReinstallImpact]):
    """What a reinstall would erase on this box; counting it may take a while."""

    @staticmethod
    def default() -> reinstall.ReinstallImpact:
        return reinstall.ReinstallImpact([], [])

    def command(self, folder: str) -> StringCommand:
        told = (
            f"FOLDER={shlex.quote(folder)} SECONDS_EACH={reinstall.SECONDS_EACH} "
            f"PLACES={shlex.quote(' '.join(reinstall.PLACES))}"
        )
        script = f"{told}\n{reinstall.SCRIPT}"
        return StringCommand("sh -c", QuoteString(script))

    def process(self, output: list[str]) -> reinstall.ReinstallImpact:
        return reinstall.read(output)


class InTheWay(BoxFact[conditions.Conditions]):
    """What a run would meet on this box now."""

    @staticmethod
    def default() -> conditions.Conditions:
        return conditions.Conditions({}, 0.0, [], [])

    def command(self, script: str) -> StringCommand:
        return StringCommand("sh -c", QuoteString(script))

    def process(self, output: list[str]) -> conditions.Conditions:
        return conditions.read(output)


class SinceLastRun(BoxFact[changes.ChangesSince]):
    """What happened on this box since a run wrote its record at `path`, and who did it."""

    @staticmethod
    def default() -> changes.ChangesSince:
        return changes.ChangesSince(0, {}, [], [])

    def command(self, path: str) -> StringCommand:
        told = f"MANIFEST={shlex.quote(path)} DEPLOY_USER={DEPLOY_USER}"
        script = f"{told}\n{changes.SCRIPT}"
        return StringCommand("sh -c", QuoteString(script))

    def process(self, output: list[str]) -> changes.ChangesSince:
        return changes.read(output)


class Manifest(BoxFact[dict[str, Any]]):
    """What the last run wrote down on the box; empty where there was none."""

    default = dict

    def command(self, path: str) -> StringCommand:
        return StringCommand("cat", QuoteString(path), "2>/dev/null || true")

    def process(self, output: list[str]) -> dict[str, Any]:
        try:
            manifest = json.loads("\n".join(output))
        except ValueError:
            return {}  # a file that somebody edited by half is written anew
        return manifest if isinstance(manifest, dict) else {}


class MayBecomeRoot(BoxFact[str]):
    """`yes` where this login is root, or gets there without a password; else sudo's words."""

    default = str

    def command(self) -> str:
        return "{ [ $(id -u) = 0 ] || LC_ALL=C sudo -n true 2>&1; } && echo yes || true"

    def process(self, output: list[str]) -> str:
        return output[-1].strip() if output else ""
