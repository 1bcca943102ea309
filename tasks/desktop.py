"""A box with a desktop starts without it: its cards are for computing."""

from pyinfra.api.deploy import deploy

from deeprig import operations

BOOTS_WITHOUT = '[ "$(systemctl get-default)" != graphical.target ] && echo yes'


@deploy("Desktop")
def switch_off() -> None:
    """From the next boot on; one that runs now goes on until then."""
    operations.shell(
        name="Start without the desktop from the next boot on",
        unless=BOOTS_WITHOUT,
        commands=["systemctl set-default multi-user.target"],
    )
