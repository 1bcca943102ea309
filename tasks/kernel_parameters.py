"""What GRUB tells the kernel, and how long it waits for a key that nobody presses."""

from pyinfra.api.deploy import deploy

from deeprig import operations
from deeprig.operations import files
from tasks.boot_trial import SCRIPT

HEADLESS = "/etc/default/grub.d/50-deeprig-headless.cfg"
PARAMETERS = "/etc/default/grub.d/60-deeprig-parameters.cfg"
SETTINGS = "/etc/default/grub /etc/default/grub.d /etc/grub.d"


@deploy("Kernel parameters")
def provide(parameters: tuple[str, ...]) -> None:
    """Boot without waiting for anybody, with these parameters; the old menu stays if the new one
    would boot nothing.
    """
    files.copy(HEADLESS)
    if parameters:
        files.write(PARAMETERS, parameters=parameters)
    else:
        files.remove(name=f"No {PARAMETERS}", path=PARAMETERS)
    have_grub_follow()


def have_grub_follow() -> None:
    operations.shell(
        name="Have GRUB's menu follow its settings",
        unless=f'[ -z "$(find {SETTINGS} -newer /boot/grub/grub.cfg)" ] && echo newer',
        commands=[f"{SCRIPT} renew"],
    )
