"""What first contact wants to know from a person: from the options, else asked on the terminal."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deeprig.errors import DeeprigError
from deeprig.ssh import key_pair
from deeprig.ssh.first_login import Target
from deeprig.ssh.host_key_trust import HostKeyChanged, explanation
from deeprig.ssh.known_hosts import entries
from deeprig.ui import screen


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the options said; questions go to stderr, so that stdout is the result alone."""

    fingerprint: str | None
    yes: bool
    reinstalled: bool
    password_stdin: bool

    @property
    def can_ask(self) -> bool:
        return sys.stdin.isatty() and not self.password_stdin

    def key(self, file: Path) -> Path:
        """The key file, made if it is not there and somebody says so."""
        question = f"{file} is not there. Make it now, an ed25519 key without a passphrase?"
        if not file.exists() and (
            self.yes or (self.can_ask and screen.confirm(question, default=True))
        ):
            key_pair.make(file)
            screen.echo(f"Made {file}.", err=True)
        return file

    def password(self, target: Target) -> str | Callable[[], str] | None:
        """The password, or how to ask for it; None where there is nobody to ask."""
        if self.password_stdin:
            line = sys.stdin.readline().rstrip("\r\n")
            if not line:
                raise DeeprigError("--password-stdin found no line on stdin; pipe the password in.")
            return line
        prompt = f"Password of {target.user} on {target.hostname}"
        ask = lambda: str(screen.ask(prompt, hide_input=True))  # noqa: E731
        return ask if self.can_ask else None

    def passphrase(self) -> Callable[[Path], str] | None:
        """How to ask for the passphrase of a private key; None where there is nobody to ask."""
        ask = lambda key: str(screen.ask(f"Passphrase of {key}", hide_input=True))  # noqa: E731
        return ask if self.can_ask else None

    def is_the_box(self, target: Target, shown: str, pins: Path) -> bool:
        """Whether this fingerprint, which is not pinned, is the box's."""
        if self.fingerprint:
            if shown.removeprefix("SHA256:") == self.fingerprint.removeprefix("SHA256:"):
                return True
            raise DeeprigError(
                f"{target} shows {shown}, which is not what --fingerprint says; nothing was done."
            )
        old = entries(pins, target.hostname, target.port)
        if self.reinstalled and old:
            screen.echo(explanation(target, old[0], shown), err=True)
            return True
        screen.echo(
            f"{target} shows the host key {shown}.\nOn the box's own screen, "
            "`cat /etc/ssh/ssh_host_*.pub | ssh-keygen -lf -` prints its keys; it must be there.",
            err=True,
        )
        if not self.yes and not self.can_ask:
            raise DeeprigError(
                f"{target} is new here and there is no terminal to ask on; give --fingerprint "
                "with what the box's own screen says, or --yes."
            )
        return self.yes or screen.confirm("Is it?")

    def may_replace(self, changed: HostKeyChanged) -> bool:
        """Whether somebody at the terminal says that the box has a new host key."""
        if self.fingerprint or not self.can_ask:
            return False
        screen.echo(changed.explanation, err=True)
        return screen.confirm("Was it reinstalled, and is this its new key?")
