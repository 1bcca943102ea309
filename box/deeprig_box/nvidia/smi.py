"""nvidia-smi, asked with a limit: a driver that hangs answers nobody."""

import csv

from deeprig_box.lib import bounded
from deeprig_box.lib.bounded import Done

SECONDS = 60  # a card that was asleep takes its time


def ask(*words: str, seconds: float = SECONDS) -> Done:
    """What it says to this, whatever it comes to."""
    return bounded.run(["nvidia-smi", *words], seconds=seconds)


def rows(said: str, columns: int) -> list[list[str]]:
    """Those of its CSV without a head; a line of another length is none."""
    lines = csv.reader(said.splitlines(), skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in lines if len(row) == columns]
