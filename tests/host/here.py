"""The machine that the checks run on, by testinfra's local backend: nothing was deployed to it, and
nothing is. tools/gpu_evidence.py asks for it, with `--here`.
"""

from dataclasses import replace
from pathlib import Path

from testinfra.backend.local import LocalBackend
from testinfra.host import Host

from deeprig.catalog import branches
from deeprig.catalog.gpus import identify
from deeprig.facts.survey import Survey
from deeprig.inventories import Box
from deeprig.parsers import kernel_modules, nvidia_smi
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Cuda, Driver, Rig
from deeprig.ssh import bounded
from deeprig_cli.verify.live_host import Answer
from tests.host.programs import ask

SECONDS = 30


class Backend(LocalBackend):  # type: ignore[misc]  # testinfra carries no types
    """As whoever runs it: root's checks say what a user may not see. No answer takes for ever."""

    def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
        return str(command)

    def run_local(self, command: str) -> Answer:
        said = bounded.command("sh", "-c", command, seconds=SECONDS)
        done = super().run_local(said)
        return Answer(backend=self, exit_status=done.rc, command=command.encode(),
                      _stdout=done.stdout_bytes, _stderr=done.stderr_bytes)  # fmt: skip

    def begin(self, *, changes: bool) -> None:
        """Nothing is asked ahead."""

    def close(self) -> None:
        """Nothing is open."""


def box() -> Box:
    """As an inventory would list it, with the settings that a new one begins with."""
    rig = Rig(driver=Driver(), cuda=Cuda(), notebook=None, python=None)
    return ("here", {"rig": rig, "ssh_hostname": "127.0.0.1"})


def connect() -> Host:
    """It, with no connection at all."""
    backend = Backend()
    host = Host(backend)
    backend.set_host(host)
    return host


def seen(survey: Survey) -> Survey:
    """What it is, and in a container what its host has lent it: the survey leaves both out."""
    if not survey.container:
        return survey
    found = replace(survey.graphics, kernels=None)
    if not found.fake:
        said = ask(connect(), *nvidia_smi.QUERY, seconds=SECONDS)
        cards = nvidia_smi.cards(said.out, nvidia_smi.FIELDS)
        lent = tuple(identify(card.id, card.address or "") for card in cards if card.id)
        found = replace(found, gpus=lent, loaded_driver=cards[0].driver or "" if cards else "")
    return replace(survey, graphics=found)


def plan(survey: Survey, rig: Rig, root: Path) -> StackPlan:
    """What would go on it; where nothing would, what runs on it, so that it is looked at too."""
    decided = resolve.decide(survey, rig)
    if not isinstance(decided, Refusal):
        return decided
    version = root / "proc/driver/nvidia/version"
    running = kernel_modules.running(version.read_text()) if version.exists() else None
    if running is None:
        return StackPlan()
    branch = branches.of_version(running.version)
    return StackPlan(driver_branch=branch, module_flavour=running.flavour)
