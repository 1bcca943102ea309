"""What powering a box off would end, asked of the box with nothing of ours on it."""

import json

import paramiko

from deeprig.errors import DeeprigError
from deeprig.parsers import untrusted
from deeprig.ssh import box_source, root_shell

# A box without a driver may not have it: it is sent along, and leaves out the login it is run by.
SOURCE = box_source.program("deeprig_box.lib.workload")  # what a program on stdin begins with
PROGRAM = f"{SOURCE}\nimport json\nprint(json.dumps(all_of_it()))\n"
SECONDS = 60
FORM = {"work": [str], "people": [str]}


def work(transport: paramiko.Transport, name: str) -> list[str]:
    """What runs there, of the cards, notebooks, containers and people; empty where nothing does."""
    done = root_shell.run(transport, "sudo -n python3 -IB -", stdin=PROGRAM, seconds=SECONDS)
    try:
        if done.code == 0:
            workload = untrusted.shaped(json.loads(done.out.splitlines()[-1]), FORM)
            return [*map(untrusted.words, (*workload["work"], *workload["people"]))]
    except untrusted.ODD:
        pass
    raise DeeprigError(f"{name} does not say what runs there: {done.last_words}")
