"""One box's driver moved and verified, or back where it was: what the verbs do, from here."""

import sys
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deeprig.catalog import branches
from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.settings import Rig
from deeprig.ui import screen
from deeprig.ui.progress import Progress
from deeprig_cli.driver import deploys
from deeprig_cli.driver.client import DriverClient
from deeprig_cli.verify import runner
from deeprig_cli.verify.runner import Check

COMPONENTS = ("driver", "gpu_settings", "gpu_live")
TIER = "live"
LEAST = 4  # checks of the driver that must really have run
GOOD = ("moved", "same", "back", "reboot owed")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a move of one box ended; `good` where it is what was asked for."""

    host: str
    good: bool
    step: str
    before: str
    after: str
    why: str
    verified: bool
    failed: tuple[str, ...]
    seconds: dict[str, float]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Move:
    """A move of the driver on one box.

    An upgrade logs in five times, and once more for each reboot: one login is kept for all that is
    asked of the box's own program, each of the two runs has one (its plan before, its record
    after), and so has each of the two rounds of checks. Each of these four also surveys the box:
    a run decides by what is there then, and no check takes a run's word. What is taken back costs
    no more but its reboot. A rollback logs in three times, once more for its reboot, and surveys
    twice: it has no run before it, and no checks.
    """

    def __init__(
        self, inventory: Path, box: Box, *, branch: str | None = None, force: bool, reboot: bool
    ) -> None:
        self.inventory = inventory
        self.name, self.data = box
        if branch and branch not in branches.known():
            known = ", ".join(branches.known())
            raise DeeprigError(f"--branch {branch} is none that deeprig knows; it knows {known}.")
        self.branch, self.force = branch, force
        self.reboot = reboot and self.data["rig"].reboot != "never"
        self.asks = ""
        self.box = DriverClient(self.name, self.data)
        self.progress = Progress()

    def planned(self, branch: str | None) -> dict[str, Any]:
        """The box's data, with this branch in its settings."""
        rig: Rig = self.data["rig"]
        if branch and rig.driver:
            rig = replace(rig, driver=replace(rig.driver, branch=branch))
        return {**self.data, "rig": rig}

    def upgrade(self) -> Outcome:
        """To the newest driver of the plan; what does not verify is taken back."""
        with closing(self.box):
            return self._upgrade()

    def rollback(self) -> Outcome:
        """To the driver from before the last upgrade."""
        with closing(self.box):
            return self._rollback()

    def _upgrade(self) -> Outcome:
        data = self.planned(self.branch)
        if not self.force:
            self.box.refuse_if_busy()
        before = self._failing("Check the driver as it is", self.branch)
        with self.progress.step(f"Write the plan on {self.name} and keep the way back"):
            deploys.prepare(self.name, data, self.progress.doing)
        move = self._do("upgrade", "Move the driver")
        if move["step"] != "moved":
            return self._outcome(move, ())
        deploys.record(self.name, data, self.progress.doing)
        failed = self._failing("Verify", self.branch)
        new = tuple(check for check in failed if check not in before)
        if new:
            back = self._do("rollback", "Take it back")
            why = f"it did not verify: {'; '.join(new)}"
            return self._outcome({**back, "kind": "upgrade", "why": why}, new)
        self.box.ask("confirm")
        return self._outcome({**move, "verified": True}, failed)

    def _rollback(self) -> Outcome:
        move = self._do("rollback", "Take the driver back")
        if move["step"] != "back":
            return self._outcome(move, ())
        deploys.record(self.name, self.data, self.progress.doing)
        failed = self._failing("Verify", branches.of_version(move["after"]))
        if not failed:
            self.box.ask("confirm")
        return self._outcome({**move, "verified": not failed}, failed)

    def _do(self, kind: str, what: str) -> dict[str, Any]:
        """Begin it there and see it through; it ends by itself, though this here may not."""
        with self.progress.step(what):
            reboot = self.reboot and not self.box.is_this_machine()
            if reboot:
                self.asks = self.box.asked_at_boot()
                reboot = not self.asks
            self.box.begin(kind, force=self.force, reboot=reboot)
            try:
                return self.box.watch(self.progress.doing)
            except KeyboardInterrupt:
                screen.echo(f"\n{self.name} goes on by itself; `deeprig driver status`", err=True)
                raise

    def _failing(self, what: str, branch: str | None) -> tuple[str, ...]:
        """The checks of the driver that fail now, as `it says: why`."""
        with self.progress.step(what):
            planned = [(self.name, self.planned(branch))]
            checks = runner.run(planned, TIER, self._saw, COMPONENTS)
        unasked = [check for check in checks if check.outcome == "unasked"]
        ran = [check for check in checks if check.outcome in ("passed", "warned", "failed")]
        if unasked:
            raise DeeprigError(f"{self.name}: {unasked[0].reason}")
        if len(ran) < LEAST:
            raise DeeprigError(f"{self.name}: {len(ran)} checks ran, at least {LEAST} must.")
        failed = [check for check in checks if check.outcome == "failed"]
        # What a deploy wrote down is written anew after a move.
        return tuple(check.check for check in failed if not check.of_the_record)

    def _saw(self, check: Check) -> None:
        if sys.stderr.isatty():  # in a log fifty lines would say little
            self.progress.doing(check.check)

    def _outcome(self, move: dict[str, Any], failed: tuple[str, ...]) -> Outcome:
        asked_back = move["kind"] == "rollback"
        good = move["step"] in (GOOD if asked_back else ("moved", "same", "reboot owed"))
        good = good and not (asked_back and failed)
        return Outcome(
            host=self.name,
            good=good,
            step=move["step"],
            before=move["before"],
            after=move["after"],
            why=move["why"],
            verified=bool(move["verified"]),
            failed=failed,
            seconds={name: round(took, 1) for name, took in self.progress.seconds.items()},
            sentence=f"{self.name}: {self._sentence(move, failed)}",
        )

    def _sentence(self, move: dict[str, Any], failed: tuple[str, ...]) -> str:
        before, after, why = move["before"], move["after"], move["why"]
        took = f"{sum(self.progress.seconds.values()):.0f} s"
        also = f"; it fails as before: {', '.join(failed)}" if failed else ""
        match move["step"]:
            case "moved":
                own = self.data["rig"].driver
                keep = self.branch and own and own.branch != self.branch
                write = (
                    f'; write Driver(branch="{self.branch}") in {self.inventory}' if keep else ""
                )
                return f"driver {before} moved to {after}, verified, in {took}{also}{write}"
            case "same":
                return f"driver {after} is what apt has for the plan; nothing moved{also}"
            case "back" if move["kind"] == "rollback":
                wrong = f", and fails: {', '.join(failed)}" if failed else ", verified"
                return f"driver {after} is back{wrong}, in {took}"
            case "back":
                return f"{why}; driver {after} is back and held"
            case "reboot owed":
                left = f"; {self.asks}, so that one is yours to make" if self.asks else ""
                return f"driver {after} is installed, and a reboot is owed: {why}{left}"
            case "refused":
                return f"{why}; nothing was touched"
            case "stuck":
                return f"{why}; `deeprig driver status --limit {self.name}` says how it stands"
            case step:
                return f"it was cut off at {step!r}; `deeprig driver rollback` goes back"
