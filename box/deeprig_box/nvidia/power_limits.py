"""Set the power limits of /etc/deeprig/power-limits.json, each checked against its card's range.

No argument: set them; a card that is not listed any more gets its default back. A limit that cannot
be had is told in one sentence on stderr, the others are set all the same, and the exit status is 1.

--check: changes nothing. First line `ok`, `owed` (a limit can be set and is not), or `later: WHY`
(the cards do not answer now, or the file is gone); then a line for each limit that cannot be had.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from deeprig_box.lib import bounded
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import smi

ASKED = Path("/etc/deeprig/power-limits.json")
# What was set since the boot; limits do not outlive one either.
OURS = Path("/run/deeprig-power-limits.json")
SECONDS = smi.SECONDS
FIELDS = "uuid,name,power.limit,power.default_limit,power.min_limit,power.max_limit"


class Card(NamedTuple):
    uuid: str
    name: str
    limit: float | None
    default: float | None
    least: float | None
    most: float | None


def nvidia_smi(*argv: str) -> str:
    done = smi.ask(*argv, seconds=SECONDS)
    if done.code == bounded.MISSING:
        raise BoxError("there is no nvidia-smi")
    if done.code == bounded.TIMED_OUT:
        raise BoxError(f"nvidia-smi does not answer within {SECONDS} s")
    if done.code:
        words = " ".join((done.out + done.err).split())
        raise BoxError(f"nvidia-smi ends with {done.code}: {words}")
    return done.out


def watts(value: str) -> float | None:
    """None for [N/A], [Unknown Error] and the like."""
    try:
        return float(value)
    except ValueError:
        return None


def cards() -> dict[str, Card]:
    """By UUID in small letters."""
    answer = nvidia_smi(f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits")
    rows = smi.rows(answer, len(Card._fields))
    return {row[0].lower(): Card(row[0], row[1], *map(watts, row[2:])) for row in rows}


def asked() -> dict[str, float]:
    try:
        return {row["gpu"].lower(): row["watts"] for row in json.loads(ASKED.read_text())}
    except FileNotFoundError:
        raise BoxError(f"{ASKED} is gone; a deploy writes it") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BoxError(f"{ASKED} is not as a deploy writes it; run the deploy again") from None


def ours() -> set[str]:
    """The cards whose limit was set since the boot; none where that cannot be read."""
    try:
        return set(json.loads(OURS.read_text()))
    except (OSError, ValueError, TypeError):
        return set()


def refusal(uuid: str, limit: float, there: dict[str, Card]) -> str:
    """Why a limit cannot be had, empty where it can."""
    card = there.get(uuid)
    if card is None:
        here = ", ".join(f"{card.uuid} ({card.name})" for card in there.values()) or "none"
        return f"Driver.power_limits names {uuid}, and no card has that UUID; here: {here}."
    if card.limit is None or card.least is None or card.most is None:
        return f"{card.name} ({card.uuid}) has no power limit that could be set."
    if not card.least <= limit <= card.most:
        return (
            f"{card.name} ({card.uuid}) takes {card.least:g} to {card.most:g} W, and "
            f"Driver.power_limits asks for {limit:g}."
        )
    return ""


def owed(there: dict[str, Card]) -> dict[str, float]:
    """What is still to be set: UUID -> watts. A limit that was ours goes back to the default."""
    limits = {uuid: limit for uuid, limit in asked().items() if not refusal(uuid, limit, there)}
    for uuid in (ours() & there.keys()) - asked().keys():
        if (default := there[uuid].default) is not None:
            limits[uuid] = default
    # One that says no limit ([N/A], [Unknown Error]) takes none.
    has = {uuid: now for uuid in limits if (now := there[uuid].limit) is not None}
    return {uuid: limits[uuid] for uuid, now in has.items() if abs(now - limits[uuid]) > 0.5}


def nothing_to_do() -> bool:
    return not asked() and not ours()


def put_in_force() -> list[str]:
    """The sentences about what cannot be had."""
    here = cards()
    wrong = [text for uuid, limit in asked().items() if (text := refusal(uuid, limit, here))]
    for uuid, limit in owed(here).items():
        try:
            nvidia_smi("-i", here[uuid].uuid, "-pl", f"{limit:g}")
            print(f"{here[uuid].name} ({here[uuid].uuid}): {limit:g} W")
        except BoxError as why:
            wrong.append(f"{here[uuid].name} ({here[uuid].uuid}) did not take {limit:g} W: {why}.")
    OURS.write_text(json.dumps([uuid for uuid in asked() if uuid in here]))
    return wrong


def check() -> list[str]:
    try:
        if nothing_to_do():
            return ["ok"]
        here = cards()
    except BoxError as why:
        return [f"later: {why}"]
    wrong = [text for uuid, limit in asked().items() if (text := refusal(uuid, limit, here))]
    gone = ours() - set(asked())
    return ["owed" if owed(here) or gone else "ok", *wrong]


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        print(*check(), sep="\n")
        return 0
    try:
        wrong = [] if nothing_to_do() else put_in_force()
    except BoxError as why:
        wrong = [f"No power limit is set: {why}."]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0
