"""The options that every verb has, so that they are spelled and explained once."""

from pathlib import Path

import click

inventory_option = click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("inventory.py"),
    show_default=True,
    help="The file that lists the boxes.",
)
limit_option = click.option(
    "--limit",
    multiple=True,
    metavar="HOST",
    help="Only this box, group or pattern (rig*); may be given again.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
