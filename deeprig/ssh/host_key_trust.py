"""Whether the host key that a box shows is the box's own."""

from collections.abc import Callable
from pathlib import Path

import paramiko

from deeprig.errors import DeeprigError
from deeprig.ssh import known_hosts
from deeprig.ssh.first_login import Target


class HostKeyChanged(DeeprigError):
    """The box shows another host key than the pinned one."""

    def __init__(self, target: Target, old: known_hosts.Pinned, shown: str) -> None:
        self.shown = shown
        self.explanation = explanation(target, old, shown)
        super().__init__(
            f"{self.explanation}\nIf it was reinstalled, run this again with --reinstalled; "
            "otherwise find out who answers there."
        )


def explanation(target: Target, old: known_hosts.Pinned, shown: str) -> str:
    """What is known about a host key that is not the pinned one, in three lines."""
    return (
        f"{target} shows another host key than before: it was reinstalled, or another machine "
        "answers there.\n"
        f"  pinned: {old.key.fingerprint} in {old.file} line {old.line}, "
        f"last seen {old.seen or 'on no known day'}\n"
        f"  shown:  {shown}"
    )


def trust(
    target: Target,
    file: Path,
    shown: paramiko.PKey,
    accept: Callable[[str], bool],
    reinstalled: bool,
) -> list[str]:
    """Pin the key of this door, if it is the box's; what that changed."""
    here = known_hosts.entries(file, target.hostname, target.port)
    if any(entry.key == shown for entry in here):
        return []
    if here and not reinstalled:
        raise HostKeyChanged(target, here[0], shown.fingerprint)
    if all(entry.key != shown for entry in known_hosts.entries(file, target.hostname)):
        if not accept(shown.fingerprint):
            raise DeeprigError(
                f"{target} shows {shown.fingerprint}, which was not accepted; nothing was changed."
            )
        if reinstalled:
            known_hosts.forget(file, target.hostname, target.port)
    known_hosts.pin(file, target.hostname, target.port, shown)
    return [f"host key in {file}"]
