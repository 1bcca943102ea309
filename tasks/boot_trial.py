"""New kernel parameters, network and SSH settings are booted once: what fails is taken back."""

from pyinfra.api.deploy import deploy

from deeprig import operations
from deeprig.operations import files
from deeprig.operations.box_program import BOX

SCRIPT = f"{BOX} boot-trial"
UNITS = ("deeprig-boot-back.service", "deeprig-boot-trial.service", "deeprig-boot-trial.timer")
IN_GRUB = "/etc/grub.d/04_deeprig-trial"
MOTD = "/etc/update-motd.d/61-deeprig-trial"


@deploy("Boot trial")
def begin() -> None:
    """Keep what the box boots with now, before any of it is changed."""
    operations.shell(
        name="Keep the settings that the box boots with, to go back to",
        unless=f"{SCRIPT} kept",
        commands=[f"{SCRIPT} keep"],
    )
    files.copy(IN_GRUB, mode="755")
    files.copy(MOTD, mode="755")
    files.units(*UNITS)
    operations.enable(name="Go back at boot where GRUB did", unit=UNITS[0], start=False)
    operations.enable(name="See after each boot whether it is good", unit=UNITS[2], start=False)


@deploy("Boot trial")
def arm() -> None:
    """If the box would boot with other settings than last time, have that boot be a trial."""
    operations.converge(name="Boot new settings on trial", command=SCRIPT)


def if_there(verb: str) -> str:
    """Ask it on boxes that have it."""
    unit = f"/etc/systemd/system/{UNITS[1]}"
    return f"{{ [ ! -e {unit} ] || [ ! -x {BOX} ] || {SCRIPT} {verb}; }}"
