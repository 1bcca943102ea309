"""New kernel parameters, network and SSH settings are booted once: what fails is taken back."""

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig.operations import core as operations
from deeprig.operations import files as config_files
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, Watched
from deeprig.operations.facts import Shell

SCRIPT = f"{BOX} boot-trial"
UNITS = ("deeprig-boot-back.service", "deeprig-boot-trial.service", "deeprig-boot-trial.timer")
IN_GRUB = "/etc/grub.d/04_deeprig-trial"
MOTD = "/etc/update-motd.d/61-deeprig-trial"


@deploy("Boot trial")
def begin() -> None:
    """Keep what the box boots with now, before any of it is changed."""
    operations.bring_about(
        name="Keep the settings that the box boots with, to go back to",
        holds=f"{SCRIPT} kept",
        commands=[f"{SCRIPT} keep"],
    )
    config_files.copy(IN_GRUB, mode="755")
    config_files.copy(MOTD, mode="755")
    config_files.units(*UNITS)
    operations.enable(name="Go back at boot where GRUB did", unit=UNITS[0], start=False)
    operations.enable(name="See after each boot whether it is good", unit=UNITS[2], start=False)


@deploy("Boot trial")
def arm() -> None:
    """If the box would boot with other settings than last time, have that boot be a trial."""
    _arm(name="Boot new settings on trial")


def if_there(verb: str) -> str:
    """Ask it on boxes that have it."""
    return f"{{ [ ! -e /etc/systemd/system/{UNITS[1]} ] || {SCRIPT} {verb}; }}"


@operation()
def _arm() -> Commands:
    state = host.get_fact(Shell, script=f"{SCRIPT} due")
    if state in ("settled", "armed"):
        host.noop(f"the trial is {state}")
        return
    if state and state != "due":
        if host.state.is_executing:
            operations.say(host, f"A boot that fails is not taken back: {state}.")
        host.noop(state)
        return
    yield Watched(f"{SCRIPT} arm")
