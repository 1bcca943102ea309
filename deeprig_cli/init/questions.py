"""What `deeprig init` asks: from the options, else on the terminal, else the careful answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import click

from deeprig.errors import DeeprigError
from deeprig.facts import disks
from deeprig.facts.disks import Device
from deeprig.facts.survey import Survey
from deeprig.settings import Disk, Python
from deeprig.ui import screen
from deeprig_cli.init import inventory_text

NONE = "none"
FRAMEWORKS: tuple[str, ...] = get_args(get_args(get_type_hints(Python)["frameworks"])[0])


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What the options said; None where they did not. `asks` is whether somebody can be asked."""

    asks: bool
    work_user: str | None = None
    frameworks: str | None = None
    docker: bool | None = None
    disk: str | None = None

    def who(self, usual: str) -> str:
        """The work user, who is asked for before the box is looked at."""
        return self.work_user or self._ask(
            "Who computes there (owns notebooks and environments; no root without a password)?",
            usual,
        )

    def which_frameworks(self, survey: Survey) -> tuple[str, ...]:
        usual = "torch" if survey.graphics.gpus else NONE
        answer = self.frameworks or self._ask(
            f"Frameworks, each some GB ({', '.join(FRAMEWORKS)}, several by commas, or {NONE})?",
            usual,
        )
        names = [word.strip() for word in answer.split(",") if word.strip() not in ("", NONE)]
        for word in names:
            if word not in FRAMEWORKS:
                raise DeeprigError(f"{word!r} is none of {', '.join(FRAMEWORKS)}, {NONE}.")
        return tuple(dict.fromkeys(names))

    def wants_docker(self) -> bool:
        if self.docker is not None or not self.asks:
            return bool(self.docker)
        return screen.confirm("Docker (whoever may use it is as good as root)?", default=False)

    def data_disk(self, survey: Survey) -> Disk | None:
        """The disk for /data; none unless somebody names it."""
        fit = [(device, setting(device, survey)) for device in inventory_text.others(survey)]
        choices = [(device, disk) for device, disk in fit if disk]
        if self.disk and self.disk != NONE:
            return _named(self.disk, choices)
        if self.disk == NONE or not choices or not self.asks:
            return None
        for number, (device, _) in enumerate(choices, start=1):
            screen.echo(f"  {number}: {inventory_text.said(device, survey)}", err=True)
        words = [NONE, *(str(number + 1) for number in range(len(choices)))]
        answer = screen.ask(
            "Which disk for /data, what outlives a reinstall (an empty one is formatted)?",
            type=click.Choice(words), default=NONE,
        )  # fmt: skip
        return None if answer == NONE else choices[int(answer) - 1][1]

    def _ask(self, question: str, usual: str) -> str:
        if not self.asks:
            return usual
        return str(screen.ask(question, default=usual))


def setting(device: Device, survey: Survey) -> Disk | None:
    """How a setting names this disk: by serial number if it is empty, by its one file system."""
    if disks.empty(device, survey.disks):
        return Disk(serials=(device.serial,)) if device.serial else None
    alone = disks.alone(device)
    return Disk(uuid=alone.uuid) if alone and alone.uuid else None


def _named(word: str, choices: Sequence[tuple[Device, Any]]) -> Disk:
    for device, disk in choices:
        if word in (device.path, device.serial, *(one.uuid for one in device.all())):
            return Disk(**{k: v for k, v in disk.__dict__.items() if k in ("serials", "uuid")})
    have = ", ".join(device.serial or device.path for device, _ in choices) or "none"
    raise DeeprigError(f"No disk {word!r} there could be for /data; there are: {have}.")
