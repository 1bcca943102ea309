"""What `deeprig wake` says: how long it took, or what to look at."""

from dataclasses import dataclass
from typing import Any

from deeprig.ssh.probe import Reachability
from deeprig_cli.power.magic_packet import COUNT, Destination
from deeprig_cli.power.wait import Waking

FIRMWARE = (
    'firmware setup: "Wake on LAN" or "Power on by PCI-E" on; "ErP", "EuP" and "Deep sleep" off'
)
LIGHT = (
    "the light at its network socket: dark while it is off means no standby power, a loose cable, "
    "or a switch that is off"
)


@dataclass(frozen=True, kw_only=True)
class Woken:
    """What came of it; `aim` is None where the box was awake already."""

    name: str
    awake: bool
    aim: Destination | None
    via: str | None
    waking: Waking

    def page(self) -> str:
        """For people: one line, or what to look at as well."""
        if self.aim is None:
            return f"{self.name} is awake already."
        if self.awake:
            return f"{self.name} is awake: it took {self.waking.seconds:.0f} s to a login."
        if self.waking.seen is Reachability.OPEN:
            return f"{self.name} is on, and lets nobody in: {self.waking.why}"
        lines = [
            f"{self.name} did not come up in {self.waking.seconds:.0f} s; "
            f"{self.packets} packets for {self.aim.said} were sent. Look at:",
            *(f"  - {hint}" for hint in self.look_at),
        ]
        return "\n".join(lines)

    @property
    def packets(self) -> int:
        return self.waking.bursts * COUNT

    @property
    def look_at(self) -> list[str]:
        """Where the cause may be, the likeliest first."""
        if self.awake or self.aim is None or self.waking.seen is Reachability.OPEN:
            return []
        where = f"in {self.aim.lan}" if self.aim.lan else "on the box's LAN"
        sender = self.via or "this machine"
        way = f"the way there: {sender} must be {where}, since routers pass no broadcast on"
        if not self.via:
            way += "; `--via HOST` sends from a host that is"
        hints = [LIGHT, FIRMWARE, way, "docs/wake.md has the rest"]
        if self.waking.seen is Reachability.CLOSED:
            hints.insert(0, "its screen: it is on, its kernel answers, its SSH does not")
        else:
            hints.insert(2, "its screen, if its fans run: a boot may wait there for a passphrase")
        return hints

    def to_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "host": self.name,
            "awake": self.awake,
            "already": self.aim is None,
            "seconds": round(self.waking.seconds, 1),
            "mac": self.aim.mac if self.aim else None,
            "broadcast": self.aim.broadcast if self.aim else None,
            "via": self.via,
            "packets": self.packets,
            "why": self.waking.why,
            "look_at": self.look_at,
        }


def elsewhere(aim: Destination) -> str:
    """A word before a wait that may well be in vain."""
    return (
        f"This machine ({aim.source}) is not in {aim.lan}, and routers pass no broadcast on: if it "
        "does not wake, name a host on that LAN with --via."
    )
