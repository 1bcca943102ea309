"""`deeprig tunnel`: JupyterLab and TensorBoard of a box on ports of this machine."""

import signal
from pathlib import Path

import click

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.settings import Notebook
from deeprig.ssh import openssh
from deeprig.ssh.openssh import Forward
from deeprig.ui import screen
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig_cli.tunnel.supervisor import ReconnectingTunnel


@click.command()
@click.argument("host", required=False)
@inventory_option
@limit_option
@json_option
@click.option("--print-ssh-config", is_flag=True, help="Write a `Host` block instead, and end.")
def tunnel(
    host: str | None,
    inventory: Path,
    limit: tuple[str, ...],
    as_json: bool,
    print_ssh_config: bool,
) -> None:
    """Open the notebook of HOST on this machine; it comes back after a cut. Ctrl-C ends it."""
    limits = (*limit, host) if host else limit
    name, data = inventories.one(inventory, limits, "a tunnel leads to one box")
    notebook: Notebook | None = data["rig"].notebook
    if notebook is None:
        raise DeeprigError(f"{name} has notebook=None, so there is nothing to open.")
    if print_ssh_config:
        ports = (notebook.port, notebook.tensorboard_port)
        block = openssh.config_block(name, data, [Forward(port, port) for port in ports])
        if as_json:
            screen.as_json({"host": name, "ssh_config": block})
        else:
            screen.echo(block)
        return
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is signal.SIG_DFL:  # nohup's stays
            signal.signal(ending, signal.default_int_handler)
    opened = ReconnectingTunnel(inventory, name, data, as_json=as_json)
    try:
        opened.keep()
    except KeyboardInterrupt:
        screen.echo("closed", err=True)
    finally:
        opened.close()
