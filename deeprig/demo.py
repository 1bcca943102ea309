"""`deeprig demo`: the whole job on a throwaway box, and a page that says what came of it."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import platformdirs

from deeprig import bootstrap, checks, connection, inventories, runs
from deeprig.checks import Check
from deeprig.errors import DeeprigError
from deeprig.progress import Progress
from deeprig.runs import Report

ROOT = Path(__file__).parent.parent
NAME = "demo"
INVENTORY = '''\
"""The machine that `make demo HOST={user}@{host}` was given."""

from deeprig.settings import Notebook, Rig, box

rigs = [
    box(
        "{host}",
        port={port},
        key="{key}",
        known_hosts="{known_hosts}",
        rig=Rig(notebook=Notebook(user="{user}")),
    )
]
'''


@dataclass(kw_only=True)
class Result:
    """All that the last page tells."""

    system: str
    inventory: Path
    progress: Progress
    checked: list[Check] = field(default_factory=list)
    again: Report | None = None
    links: list[str] = field(default_factory=list)
    login: str = ""

    @property
    def good(self) -> bool:
        failed = [check for check in self.checked if check.outcome not in ("passed", "skipped")]
        nothing_changed = self.again is not None and not self.again.error and not self.again.changes
        return bool(self.checked) and not failed and nothing_changed


@click.command()
@click.option("--host", metavar="USER@HOST", help="A machine of yours that may be changed.")
@click.option("--os", "system", default="debian-13", show_default=True, help="The box's system.")
@click.option("--keep", is_flag=True, help="Leave the throwaway box up.")
def demo(host: str | None, system: str, keep: bool) -> None:
    """Deploy to a throwaway box, verify it, deploy again, and take it down."""
    progress = Progress()
    if host:
        result = Result(system=host, inventory=_machine(host, progress), progress=progress)
    else:
        result = Result(
            system=f"{system} container", inventory=_box(system, progress), progress=progress
        )
    try:
        _whole_job(result)
    finally:
        if not host and not keep:
            _take_down(progress)
    click.echo(_page(result, up=bool(host) or keep))
    sys.exit(0 if result.good else 1)


def _box(system: str, progress: Progress) -> Path:
    from lab import boxes  # needs Linux; with --host the demo does not

    with progress.step("Make a throwaway box"):
        if NAME in [box.name for box in boxes.every()]:
            progress.doing("taking down the box of an earlier demo")
            boxes.down(NAME)
        return boxes.up(NAME, os=system, say=progress.doing).inventory


def _take_down(progress: Progress) -> None:
    from lab import boxes

    with progress.step("Take the box down"):
        boxes.down(NAME)


def _machine(host: str, progress: Progress) -> Path:
    """First contact with a machine of the user's, and an inventory for it."""
    user, _, rest = host.rpartition("@")
    name, _, port = rest.partition(":")
    if not user or not name:
        raise DeeprigError(f"HOST is {host!r}; write it like ubuntu@198.51.100.7.")
    click.confirm(
        f"This changes {name}: packages, SSH to keys only, a firewall, services. Go on?", abort=True
    )
    folder = platformdirs.user_state_path("deeprig") / "demo" / name
    folder.mkdir(parents=True, exist_ok=True)
    key, known_hosts = Path("~/.ssh/id_ed25519").expanduser(), folder / "known_hosts"
    target = bootstrap.Target(name, int(port or 22), user)
    click.echo(f"==> First contact with {name}", err=True)
    bootstrap.bootstrap(
        target,
        key=key,
        known_hosts=known_hosts,
        password=lambda: str(click.prompt(f"Password of {user} on {name}", hide_input=True)),
        accept=lambda shown: click.confirm(f"{name} shows the host key {shown}. Is that its key?"),
    )
    inventory = folder / "inventory.py"
    inventory.write_text(
        INVENTORY.format(user=user, host=name, port=target.port, key=key, known_hosts=known_hosts)
    )
    return inventory


def _whole_job(result: Result) -> None:
    from deploy import build

    progress = result.progress
    [(name, data)] = inventories.load(result.inventory)
    with progress.step("Deploy: pyinfra inventory.py deploy.py"):
        _pyinfra(result.inventory, progress)
    with progress.step("Verify with testinfra"):
        result.checked = checks.run(
            result.inventory, [], "functional", lambda check: progress.doing(check.check)
        )
    with progress.step("Deploy once more"):
        result.again = runs.run(name, data, build, progress=progress.doing)
    result.login, result.links = _ways_in(data)


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
            if found := re.search(
                r"Starting operation: (.*)|\] ((?:Waiting|uv|npm|No new).*)", line
            ):
                progress.doing((found[1] or found[2]).strip())
    if process.returncode:
        last = "\n".join(log.read_text().splitlines()[-12:])
        raise DeeprigError(
            f"the deploy failed; all of it is in {log}, and this is its end:\n{last}"
        )


def _ways_in(data: dict[str, object]) -> tuple[str, list[str]]:
    """The command to log in, and the commands and links for the notebook."""
    rig, host, port = data["rig"], data["ssh_hostname"], data["ssh_port"]
    settings = rig.notebook  # type: ignore[attr-defined]
    options = f"-i {data['ssh_key']} -o UserKnownHostsFile={data['ssh_known_hosts_file']} -p {port}"
    login = f"ssh {options} {settings.user}@{host}"
    with connection.connect(data) as client:
        _, output, _ = client.exec_command(
            f"sudo cat ~{settings.user}/.config/deeprig/notebook-token", timeout=20
        )
        token = output.read().decode().strip()
    ports = (settings.port, settings.tensorboard_port)
    tunnel = " ".join(f"-L {number}:127.0.0.1:{number}" for number in ports)
    return login, [
        f"ssh -N {tunnel} {login.removeprefix('ssh ')}",
        f"http://127.0.0.1:{ports[0]}/lab?token={token}",
        f"http://127.0.0.1:{ports[1]}/",
    ]


def _page(result: Result, *, up: bool) -> str:
    outcomes = [check.outcome for check in result.checked]
    lines = ["", click.style(f"deeprig on {result.system}", bold=True), "", "Installed and set up"]
    for component in dict.fromkeys(check.component for check in result.checked):
        of = [check.outcome for check in result.checked if check.component == component]
        lines.append(
            f"  {component.replace('_', ' '):16} {of.count('passed'):3} verified"
            + (f", {of.count('skipped')} skipped" if "skipped" in of else "")
            + (click.style(f", {of.count('failed')} FAILED", fg="red") if "failed" in of else "")
        )
    passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
    failed = len(outcomes) - passed - skipped
    lines += [
        f"  {'in all':16} {passed:3} verified, {skipped} skipped, {failed} failed",
        *(f"  failed: {c.check}: {c.reason}" for c in result.checked if c.outcome == "failed"),
        *sorted({f"  skipped: {c.reason}" for c in result.checked if c.outcome == "skipped"}),
        "",
        "The second deploy",
        f"  {_again(result.again)}",
        "",
        "Time",
        *(f"  {name:40} {seconds:6.1f} s" for name, seconds in result.progress.seconds.items()),
        "",
    ]
    if up:
        tunnel, notebook, tensorboard = result.links
        lines += [
            "Log in",
            f"  {result.login}",
            "Notebook: open the tunnel, then the links",
            f"  {tunnel}",
            f"  JupyterLab   {notebook}",
            f"  TensorBoard  {tensorboard}",
            f"Inventory  {result.inventory}",
        ]
    else:
        lines += [
            "The box is gone again; `make demo KEEP=1` leaves it up and prints how to log in."
        ]
    return "\n".join(lines)


def _again(report: Report | None) -> str:
    if report is None or report.error:
        return f"FAILED: {report.error if report else 'it did not run'}"
    changed = "".join(f"\n    {name}" for name in report.changes)
    return f"{len(report.changes)} changes in {len(report.steps)} operations{changed}"
