"""A box's driver-move over SSH: asked, started and followed through reboots and lost links."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from deeprig.errors import DeeprigError
from deeprig.facts import encryption
from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.ssh import root_shell
from deeprig.ssh.root_shell import Done
from deeprig.ssh.session import Session

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ASK_SECONDS = 120
BOOT_SECONDS = 600
TRY_EVERY = 2.0
REBOOTING = ("rebooting", "rebooting back")
Say = Callable[[str], None]
# What the record of a move has that is looked at here.
MOVE_FORM = {
    "kind": str, "step": str, "before": str, "after": str, "why": str, "verified": bool,
    "stepped": float,
}  # fmt: skip
NAMES = [str]
# And what the standing has: `driver` is empty where there is none, and then it is all.
STANDING = (
    {"driver": untrusted.parser("nothing", "", 0), "state": str},
    {
        "driver": untrusted.version, "state": str, "in_use": str, "cards": NAMES, "system": str,
        "plan": {"branch": str, "source": str, "flavour": str, "modules": str},
        "loaded": {"version": str, "flavour": str},
        "modules": {"running": str, "next": str, "versions": {str: str}},
        "libraries": [
            {"name": str, "file": str, "version": str, "owner": str, "named_in": str}
        ],
        "packages": {str: str},
        "holds": {"held": NAMES, "loose": NAMES, "needless": NAMES, "not_excluded": NAMES},
        "offers": {str: NAMES},
        "index": {"source": str, "read": float},
        "waiting": [{"name": str, "version": str, "since": float}],
        "moves": [{"name": str, "new": str, "by": str, "log": str, "line": str}],
        "move": {**MOVE_FORM, "active": bool},
        "way_back": ({"version": str, "lacking": NAMES}, {}),
        "now": float,
    },
)  # fmt: skip


class DriverClient(Session):
    """One box: one connection, opened anew after a reboot."""

    program = "driver-move"

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(name, data)
        self._lines = 0

    def ask(self, *words: str) -> Done:
        """What driver-move says to this."""
        return root_shell.run(self._transport(), self._command(*words), seconds=ASK_SECONDS)

    def boot_id(self) -> str:
        return untrusted.boot_id(root_shell.run(self._transport(), f"cat {BOOT_ID}").out.strip())

    def asked_at_boot(self) -> str:
        """What its next boot waits for, where it needs a person; "" where it does not."""
        return encryption.asked_at_boot(self._transport(), self.name)

    def is_this_machine(self) -> bool:
        """Whether this process would go down with the box."""
        return BOOT_ID.exists() and BOOT_ID.read_text().strip() == self.boot_id()

    def status(self, names: list[str]) -> dict[str, Any]:
        """How the driver stands there. Raises DeeprigError where nothing there can say."""
        done = self.ask("status", *names)
        if done.code == 0:
            return self._read(done.out, STANDING)
        if "not found" in done.last_words or "No such file" in done.last_words:
            raise DeeprigError(
                f"{self.name} has nothing that moves a driver yet; deploy there first."
            )
        raise DeeprigError(f"{self.name}: {done.last_words}")

    def refuse_if_busy(self) -> None:
        """Raises DeeprigError where something runs there; `begin` asks again."""
        done = self.ask("busy")
        if done.code == 0 and done.out.strip():
            runs = ", ".join(done.out.strip().splitlines())
            raise DeeprigError(
                f"{self.name}: there runs {runs}; nothing was touched, --force goes ahead."
            )

    def begin(self, kind: str, *, force: bool, reboot: bool) -> None:
        """Start it there; from here on it ends by itself. Raises DeeprigError where it must not."""
        options = [*(["--force"] if force else []), *([] if reboot else ["--no-reboot"])]
        self._lines = 0
        done = self.ask("begin", kind, *options)
        if done.code != 0:
            raise DeeprigError(f"{self.name}: {done.last_words}")

    def watch(self, say: Say) -> dict[str, Any]:
        """Follow it to its end, through reboots and lost links; the record as it stands then."""
        while True:
            move, boot = self._follow(say)
            if move is not None and move["step"] not in REBOOTING:
                return move
            self._wait(boot if move else "", say)

    def _follow(self, say: Say) -> tuple[dict[str, Any] | None, str]:
        """The record, None where the link was lost first; and the boot that was followed."""
        try:
            transport = self._transport()
            boot = self.boot_id()
            channel = root_shell.follow(transport, self._command("follow", str(self._lines)))
            for line in channel.makefile("r"):
                if line.startswith("{"):
                    return self._read(line, MOVE_FORM), boot
                self._lines += 1
                say(line.strip())
        except NotSo:
            raise
        except (DeeprigError, paramiko.SSHException, OSError, EOFError):
            pass  # it goes down, or the link is lost; whoever called waits for it
        return None, ""

    def _read(self, said: str, form: Any) -> dict[str, Any]:
        """Raises NotSo for anything else than this form."""
        try:
            answer: dict[str, Any] = untrusted.shaped(json.loads(said), form)
            return answer
        except untrusted.ODD as error:
            raise NotSo(
                f"{self.name} says of its driver what cannot be so ({untrusted.why(error)}); find "
                "out who answers there."
            ) from None

    def _wait(self, not_boot: str, say: Say) -> None:
        """Until it answers, in another boot than that one."""
        started = time.monotonic()
        self.close()
        while (waited := time.monotonic() - started) < BOOT_SECONDS:
            say(f"waiting for {self.name} to answer{' after its reboot' if not_boot else ''}")
            with suppress(DeeprigError):
                if self.boot_id() != not_boot:
                    return
            time.sleep(TRY_EVERY)
        raise DeeprigError(
            f"{self.name} has not answered for {waited:.0f} s; it goes on by itself, and "
            "`deeprig driver status` says where it is once it answers."
        )
