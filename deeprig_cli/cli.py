"""The command line: `deeprig VERB`. A verb's module is loaded only when that verb is asked for."""

import importlib
import sys
from typing import Any

try:
    import click

    from deeprig import __version__, tree
    from deeprig.ui import screen
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for this Python; run .venv/bin/deeprig (`make env`).")

# verb: its module, the command in it, what `--help` says
VERBS = {
    "demo": ("lab.demo", "demo", "Throwaway box: deploy, verify, deploy again, take down."),
    "init": (
        "deeprig_cli.init.command",
        "init",
        "From an address to an inventory, rigs.py, in one sitting.",
    ),
    "bootstrap": ("deeprig_cli.bootstrap", "bootstrap", "First contact with a box."),
    "plan": ("deeprig_cli.plan.command", "plan", "What a run would decide and change; reads only."),
    "deploy": (
        "deeprig_cli.deploy.command",
        "deploy",
        "Bring boxes to the state that their settings describe.",
    ),
    "verify": (
        "deeprig_cli.verify.command",
        "verify",
        "Prove that boxes are what the inventory says.",
    ),
    "driver": (
        "deeprig_cli.driver.command",
        "driver",
        "The driver: how it stands, upgrade, rollback.",
    ),
    "wake": ("deeprig_cli.power.wake", "wake", "Power a box on, and wait until it lets you in."),
    "off": ("deeprig_cli.power.off", "off", "Power a box off, unless work runs there."),
    "tunnel": ("deeprig_cli.tunnel.command", "tunnel", "The notebook of a box in your browser."),
    "run": ("deeprig_cli.run.command", "run", "A job on a box that outlives the connection."),
    "lab": ("lab.cli", "lab", "Throwaway machines."),
}
# They make machines out of a checkout; no wheel has them.
OF_A_CHECKOUT = ("demo", "lab")


class Verbs(click.Group):
    """A group that lists its verbs without loading them, and ends in one line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verb in VERBS if not (tree.INSTALLED and verb in OF_A_CHECKOUT)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.list_commands(ctx):
            raise click.UsageError(
                f"`deeprig {cmd_name}` is for those who work on deeprig: it comes with a checkout "
                "(docs/development.md), not with a package."
            )
        module, name, _ = VERBS[cmd_name]
        tree.let_import()
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb][2]) for verb in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            remedy = (
                "install deeprig anew, with what it depends on"
                if tree.INSTALLED
                else "run .venv/bin/deeprig, which `make env` makes"
            )
            screen.echo(f"{error.name} is not installed for this Python; {remedy}.", err=True)
        except (KeyboardInterrupt, click.Abort):
            screen.echo("Stopped.", err=True)
        except Exception as error:
            from deeprig.errors import DeeprigError  # loads pyinfra, which `--help` can do without

            if not isinstance(error, DeeprigError):
                raise
            screen.echo(error, err=True)
        ctx.exit(2)


@click.group(cls=Verbs)
@click.version_option(__version__, prog_name="deeprig")
def main() -> None:
    """Deep learning servers without a screen: from first contact to every day.

    Each verb takes --json, and exits 0: done, 1: something is wrong with a box, 2: it could not
    run.
    """


if __name__ == "__main__":
    main()
