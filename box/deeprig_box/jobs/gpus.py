"""Which GPUs a job gets: those it names, or those on which nothing computes."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from deeprig_box.lib import bounded
from deeprig_box.nvidia import smi

SECONDS = smi.SECONDS
IDLE, ALL, NONE = "idle", "all", "none"


class Card(NamedTuple):
    number: str
    uuid: str
    name: str

    def __str__(self) -> str:
        return f"GPU {self.number} ({self.name})"


def refuse(sentence: str) -> NoReturn:
    sys.exit(sentence)


def query(what: str) -> list[list[str]]:
    """nvidia-smi's rows for this, of three columns; none where there is no nvidia-smi."""
    if not shutil.which("nvidia-smi"):
        return []
    done = smi.ask(what, "--format=csv,noheader", seconds=SECONDS)
    if done.code == bounded.TIMED_OUT:
        refuse(f"nvidia-smi has not answered for {SECONDS} s; `deeprig verify` says more.")
    if done.code:
        refuse(f"nvidia-smi says: {done.last_words}; `--gpu none` starts it without a GPU.")
    return smi.rows(done.out, 3)


def cards() -> list[Card]:
    return [Card(*row) for row in query("--query-gpu=index,uuid,name")]


def busy(taken: dict[str, str]) -> dict[str, str]:
    """UUID -> who is on that card; `taken` are the cards of other jobs, with their names."""
    users = {uuid: f"job {name}" for uuid, name in taken.items()}
    for row in query("--query-compute-apps=gpu_uuid,pid,process_name"):
        if row[0] not in users:
            users[row[0]] = f"{Path(row[2]).name} (process {row[1]})"
    return users


def choose(wanted: list[str], taken: dict[str, str]) -> list[Card]:
    """The cards for a job. Ends with a sentence where it cannot have them."""
    if wanted == [NONE]:
        return []
    every = cards()
    if wanted == [ALL]:
        return every or refuse("There is no GPU here; leave out --gpu.")
    if wanted == [IDLE]:
        return idle(every, taken)
    return [named(word, every) for word in dict.fromkeys(wanted)]


def idle(there: list[Card], taken: dict[str, str]) -> list[Card]:
    who = busy(taken) if there else {}
    free = [card for card in there if card.uuid not in who]
    if there and not free:
        on = "; ".join(f"{who[card.uuid]} on {card}" for card in there)
        refuse(f"No GPU is idle: {on}. Name one with --gpu, or --gpu none.")
    return free


def named(word: str, there: list[Card]) -> Card:
    """By its index, as nvidia-smi counts, or by its UUID or the beginning of that."""
    matching = [c for c in there if word == c.number or (word[:4] == "GPU-" and word in c.uuid)]
    if len(matching) != 1:
        have = ", ".join(f"{c.number} ({c.uuid})" for c in there) or "none"
        refuse(f"There is no GPU {word!r} here; there are: {have}.")
    return matching[0]
