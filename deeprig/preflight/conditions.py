"""What a run would meet on a box that settings alone do not refuse, worst first; reading only."""

import shlex
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from deeprig import catalog
from deeprig.facts import network_cards
from deeprig.facts.survey import Survey
from deeprig.parsers import untrusted
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig

SCRIPT = (Path(__file__).parent / "conditions.sh").read_text()
SECONDS_EACH = 5
GB = 10**9
ROOMY = 10**18  # where it does not say
# apt refuses an index from the future at once, and TLS a certificate that is not valid yet.
SECONDS_OFF = 60
# An initramfs with a driver's modules, twice while it is made anew, and a kernel beside it.
BOOT_BYTES = 300_000_000


class Conditions(NamedTuple):
    """The answer in what SCRIPT printed. Bytes that are free, seconds, processes, sites."""

    room: dict[str, int]
    seconds_off: float
    holders: list[str]
    unreachable: list[str]


def script(rig: Rig) -> str:
    """SCRIPT with the proxy that a run would set first, and the package index that is named."""
    proxy = _door(rig.apt_proxy or rig.proxy)
    index = "" if rig.proxy or not rig.python else _door(rig.pypi_index)
    told = f"SECONDS_EACH={SECONDS_EACH} PROXY={shlex.quote(proxy)} INDEX={shlex.quote(index)}"
    return f"{told}\n{SCRIPT}"


def _door(url: str | None) -> str:
    """What is dialled; of the URL no path, no name and no password."""
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def read(output: list[str]) -> Conditions:
    """As SCRIPT printed it; the clock is compared with this machine's."""
    lines = [line.strip().partition("=")[::2] for line in output]
    places = [value.partition(" ")[::2] for key, value in lines if key == "room"]
    clocks = [untrusted.number(value, 0, 2**40) for key, value in lines if key == "now"]
    return Conditions(
        room={place: untrusted.number(size) for place, size in places if place in ("/", "/boot")},
        seconds_off=clocks[0] - time.time() if clocks else 0.0,
        holders=[untrusted.words(value) for key, value in lines if key == "holder"],
        unreachable=[untrusted.words(value) for key, value in lines if key == "unreachable"],
    )


def problems(
    now: Conditions, survey: Survey, rig: Rig, plan: StackPlan | None, *, first: bool
) -> list[str]:
    """One each, with what to do: first what would end a run, last what it waits for or leaves out.

    A `first` run needs room for everything; a later one looks when it comes to it.
    """
    sentences = [
        f"{site} cannot be reached from the box, and packages come from there; look at its "
        "network, or name Rig.proxy, Rig.apt_proxy or Rig.pypi_index."
        for site in now.unreachable
    ]
    needed = room_needed(rig, plan)
    if first and (free := now.room.get("/", ROOMY)) < needed * GB:
        sentences.append(
            f"/ has {free / GB:.1f} GB free, and this takes about {needed:.1f}; make room, or "
            "ask for less."
        )
    if now.room.get("/boot", BOOT_BYTES) < BOOT_BYTES:
        sentences.append(
            f"/boot has {now.room['/boot'] / 1e6:.0f} MB free, and a kernel with a driver's "
            f"modules takes {BOOT_BYTES / 1e6:.0f}; `sudo apt autoremove --purge` takes old "
            "kernels away."
        )
    if abs(now.seconds_off) > SECONDS_OFF:
        late = "behind" if now.seconds_off < 0 else "ahead of"
        sentences.append(
            f"Its clock is {abs(now.seconds_off):.0f} s {late} this machine's, and apt and TLS "
            "refuse what is dated wrong; `sudo date -s ...`, the run then keeps it right."
        )
    if now.holders:
        sentences.append(
            f"apt is in use by {', '.join(now.holders)}; a run waits for it, so let it finish."
        )
    return [*sentences, *_wake(survey, rig)]


def room_needed(rig: Rig, plan: StackPlan | None) -> float:
    """GB on the root file system, by the table of what was measured."""
    known = catalog.load("disk_space")["gigabytes"]
    parts = [known["base"]]
    parts += [known["notebook"]] if rig.notebook else []
    parts += [known["driver"]] if plan and plan.driver_packages else []
    parts += [known["cuda"]] if plan and plan.cuda_packages else []
    frameworks = rig.python.frameworks if rig.python else ()
    return float(sum(parts) + known["framework"] * len(frameworks))


def _wake(survey: Survey, rig: Rig) -> list[str]:
    if rig.wake_on_lan is None:
        return []
    card = network_cards.chosen(survey.network, rig.wake_on_lan)
    why_not = network_cards.left_out(card, rig.wake_on_lan) if card else ""
    return [why_not] if why_not else []
