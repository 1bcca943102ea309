"""`deeprig demo`: the whole job on a throwaway box, and a page that says what came of it."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import paramiko
import platformdirs

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.runner import runs
from deeprig.settings import Notebook
from deeprig.ssh import connection, openssh
from deeprig.ui import screen
from deeprig.ui.progress import Progress
from deeprig_cli.verify import runner
from lab.demo_report import Result, page

ROOT = Path(__file__).parent.parent
NAME = "demo"
# A line for each thing that a person would ask about; read on the box.
VERSIONS = """
/opt/deeprig/notebook/bin/python -c '
from importlib.metadata import version
for name in ("jupyterlab", "tensorboard"):
    print(name, version(name))'
/usr/local/bin/uv --version
dpkg-query -W -f '${Package} ${Version}\\n' openssh-server tmux ufw unattended-upgrades
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that the demo was given."""

    name: str
    host: str
    port: int
    key: Path
    known_hosts: Path


@click.command()
@click.option("--host", metavar="USER@HOST", help="A machine of yours that may be changed.")
@click.option("--os", "system", default="debian-13", show_default=True, help="The box's system.")
@click.option("--keep", is_flag=True, help="Leave the throwaway box up.")
def demo(host: str | None, system: str, keep: bool) -> None:
    """Deploy to a throwaway box, verify it, deploy again, and take it down."""
    progress = Progress()
    if host:
        result = Result(system=host, inventory=_machine(host), progress=progress)
    else:
        result = Result(
            system=f"{system} container", inventory=_box(system, progress), progress=progress
        )
    try:
        _whole_job(result)
    finally:
        if not host and not keep:
            _take_down(progress)
    screen.echo(page(result, up=bool(host) or keep))
    sys.exit(0 if result.good else 1)


def _box(system: str, progress: Progress) -> Path:
    with progress.step("Make a throwaway box"):
        if any(box["name"] == NAME for box in json.loads(_lab(progress, "list", "--json"))):
            _lab(progress, "down", NAME)
        box = json.loads(_lab(progress, "up", NAME, "--os", system, "--json"))
    return Path(box["inventory"])


def _take_down(progress: Progress) -> None:
    with progress.step("Take the box down"):
        _lab(progress, "down", NAME)


def _lab(progress: Progress, *arguments: str) -> str:
    """What a verb of `deeprig lab` prints; as a program of its own, which may become root."""
    command = [str(Path(sys.executable).with_name("deeprig")), "lab", *arguments]
    last_line = ""
    with subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stderr:
            last_line = line.strip()
            progress.doing(last_line)
        output = process.stdout.read()
    if process.returncode:
        raise DeeprigError(last_line)
    return output


def _machine(host: str) -> Path:
    """First contact with a machine of the user's, and an inventory for it."""
    from lab import inventory_file

    user, _, rest = host.rpartition("@")
    name, _, port = rest.partition(":")
    if not user or not name:
        raise DeeprigError(f"HOST is {host!r}; write it like ubuntu@198.51.100.7.")
    screen.confirm(
        f"This changes {name}: packages, keys-only SSH, a firewall, services, a user ai. Go on?",
        abort=True,
    )
    folder = platformdirs.user_state_path("deeprig") / "demo" / name
    folder.mkdir(parents=True, exist_ok=True)
    key = Path("~/.ssh/id_ed25519").expanduser()
    machine = Machine(
        name=name, host=name, port=int(port or 22), key=key, known_hosts=folder / "known_hosts"
    )
    arguments = ["--user", user, "--port", str(machine.port), "--key", str(key)]
    command = [str(Path(sys.executable).with_name("deeprig")), "bootstrap", name, *arguments]
    if subprocess.run(
        [*command, "--known-hosts", str(machine.known_hosts)], check=False
    ).returncode:
        raise DeeprigError(f"no first contact with {name}; see above.")
    public = key.with_suffix(".pub").read_text().strip()
    inventory = folder / "inventory.py"
    inventory.write_text(inventory_file.text(machine, work_users_key=public, folder="/data"))
    return inventory


def _whole_job(result: Result) -> None:
    from deploy import build

    progress = result.progress
    boxes = inventories.load(result.inventory)
    [(name, data)] = boxes
    with progress.step("Deploy: pyinfra inventory.py deploy.py"):
        _pyinfra(result.inventory, progress)
    with progress.step("Verify with testinfra"):
        result.checked = runner.run(boxes, "functional", lambda check: progress.doing(check.check))
    with progress.step("Deploy once more"):
        result.again = runs.run(name, data, build, progress=progress.doing)
    _look(result, data)


def _pyinfra(inventory: Path, progress: Progress) -> None:
    """The real command line, as a user types it; its output is kept beside the inventory."""
    log = inventory.with_name("deploy.log")
    command = [str(Path(sys.executable).with_name("pyinfra")), "-y", str(inventory), "deploy.py"]
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if step := re.search(
                r"Starting operation: (.*)|\] ((?:Waiting|uv|npm|No new).*)", line
            ):
                progress.doing((step[1] or step[2]).strip())
    if process.returncode:
        last = "\n".join(log.read_text().splitlines()[-12:])
        raise DeeprigError(
            f"the deploy failed; all of it is in {log}, and this is its end:\n{last}"
        )


def _look(result: Result, data: dict[str, Any]) -> None:
    """What the page says about the box itself: versions, the ways in."""
    notebook: Notebook = data["rig"].notebook
    with connection.connect(data) as client:
        result.installed = _output(client, VERSIONS).splitlines()
    result.ways_in = {
        "log in": openssh.line(data, notebook.user),
        "notebook": f".venv/bin/deeprig tunnel --inventory {result.inventory}",
        "inventory": str(result.inventory),
    }


def _output(client: paramiko.SSHClient, command: str) -> str:
    _, output, _ = client.exec_command(command, timeout=30)
    return output.read().decode(errors="replace").strip()
