"""The folder for what must outlive a reinstall, and the work user's own folder in it."""

import shlex

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig.facts.survey import Survey
from deeprig.operations import core as operations
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, Watched
from deeprig.operations.facts import Shell
from deeprig.parsers import untrusted
from deeprig.settings import Storage

SCRIPT = f"{BOX} data-folder"


@deploy("Data folder")
def provide(settings: Storage, survey: Survey, user: str | None) -> None:
    """Notebooks, runs and caches of `user` below the folder, reached from the home by links."""
    below = [] if survey.container else mountpoints(settings)
    words = [word for at in below for word in ("--disk", at)]
    words += [settings.folder, *([user] if user else [])]
    _stand(name=f"Have {settings.folder}{f' for {user}' if user else ''}", arguments=words)


def mountpoints(settings: Storage) -> list[str]:
    """Where disks must be mounted before anything is written to the folder."""
    folder = settings.folder
    return [d.at for d in settings.disks if folder == d.at or folder.startswith(f"{d.at}/")]


@operation()
def _stand(arguments: list[str]) -> Commands:
    """Make what is not there; leave what is the user's, and say so."""
    asked = shlex.join(arguments)
    found = host.get_fact(Shell, script=f"{SCRIPT} --check {asked}")
    if found == "ok" or found.startswith("note "):
        if found != "ok" and host.state.is_executing:
            operations.say(host, f"{untrusted.visible(found.removeprefix('note '))}.")
        host.noop("it stands")
        return
    yield Watched(f"{SCRIPT} {asked}")
