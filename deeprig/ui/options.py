"""The options that every verb has, so that they are spelled and explained once."""

from pathlib import Path

import click

from deeprig import tree

RIGS = Path("rigs.py")
OF_A_CHECKOUT = Path("inventory.py")  # it reads rigs.py, for pyinfra


def usual_inventory() -> Path:
    """The list of boxes where none is named: a checkout's, or else rigs.py by itself."""
    own = tree.INSTALLED or RIGS.is_file()
    return RIGS if own and not OF_A_CHECKOUT.is_file() else OF_A_CHECKOUT


inventory_option = click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    default=usual_inventory,
    show_default="inventory.py, or else rigs.py",
    help="The file that lists the boxes.",
)
limit_option = click.option(
    "--limit",
    multiple=True,
    metavar="HOST",
    help="Only this box, group or pattern (rig*); may be given again.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
