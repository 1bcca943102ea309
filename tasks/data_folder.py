"""The folder for what must outlive a reinstall, and the work user's own folder in it."""

import shlex

from pyinfra.api.deploy import deploy

from deeprig import operations
from deeprig.facts.survey import Survey
from deeprig.operations.box_program import BOX
from deeprig.settings import Storage

SCRIPT = f"{BOX} data-folder"


@deploy("Data folder")
def provide(settings: Storage, survey: Survey, user: str | None) -> None:
    """Notebooks, runs and caches of `user` below the folder, reached from the home by links."""
    below = [] if survey.container else mountpoints(settings)
    words = [word for at in below for word in ("--disk", at)]
    words += [settings.folder, *([user] if user else [])]
    operations.converge(
        name=f"Have {settings.folder}{f' for {user}' if user else ''}",
        command=SCRIPT,
        arguments=shlex.join(words),
    )


def mountpoints(settings: Storage) -> list[str]:
    """Where disks must be mounted before anything is written to the folder."""
    folder = settings.folder
    return [d.at for d in settings.disks if folder == d.at or folder.startswith(f"{d.at}/")]
