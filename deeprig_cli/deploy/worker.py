"""One box's deploy, in a process of its own: pyinfra knows one run in a process.

Lines of JSON on stdout, each one of `tell`, `proposed` (it waits for "go" on stdin) and `ended`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from deeprig import inventories, tree
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig_cli.deploy.outcome import Outcome

GO = "go\n"


def main(inventory: str, name: str, how: str) -> None:
    """`how` is "yes" where nobody is asked."""
    tree.let_import()
    from deploy import build

    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # whatever else is printed is for the person who watches

        def say(what: str, word: object) -> None:
            out.write(json.dumps({what: word}) + "\n")
            out.flush()

        # By its own file again: not all that is in it goes through a pipe.
        [box] = [box for box in inventories.load(Path(inventory)) if box[0] == name]
        rig = box[1]["rig"]

        def agree(report: Report) -> bool:
            say("proposed", Outcome.of(report, rig).to_json())
            return sys.stdin.readline() == GO

        asks: dict[str, Any] = {"look_ahead": False} if how == "yes" else {"agree": agree}
        report = runs.run(*box, build, tell=lambda line: say("tell", line), **asks)
        say("ended", Outcome.of(report, rig).to_json())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
