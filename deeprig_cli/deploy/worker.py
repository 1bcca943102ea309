"""One box's deploy, in a process of its own: pyinfra knows one run in a process.

Lines of JSON on stdout, each one of `tell`, `proposed` (it waits for "go" on stdin) and `ended`.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprig.runner.runs import Report

GO = "go\n"


def main(inventory: str, name: str, how: str) -> None:
    """`how` is "yes" where nobody is asked."""
    # Loaded only now, so that Ctrl-C has always somebody who catches it.
    from deeprig import inventories, tree
    from deeprig.errors import DeeprigError
    from deeprig.runner import runs
    from deeprig_cli.deploy.outcome import Outcome

    tree.let_import()
    from deploy import build

    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # whatever else is printed is for the person who watches

        def say(what: str, word: object) -> None:
            out.write(json.dumps({what: word}) + "\n")
            out.flush()

        def one() -> Outcome:
            # By its own file again: not all that is in it goes through a pipe.
            [box] = inventories.load(Path(inventory), [name])
            rig = box[1]["rig"]

            def agree(report: "Report") -> bool:
                say("proposed", Outcome.of(report, rig).to_json())
                return sys.stdin.readline() == GO

            asks: dict[str, Any] = {"look_ahead": False} if how == "yes" else {"agree": agree}
            tell = lambda line: say("tell", line)  # noqa: E731
            return Outcome.of(runs.run(*box, build, tell=tell, **asks), rig)

        try:
            outcome = one()
        except DeeprigError as error:
            outcome = Outcome.lost(name, f"{name}: {error}")
        say("ended", outcome.to_json())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
