"""What every box needs first: a survey, apt that never asks, a clock, no sleep, tools."""

from collections.abc import Sequence
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.facts import docker, network_cards
from deeprig.facts.survey import Survey, objections, script
from deeprig.operations import box_program, files, old_layout, packages
from deeprig.operations.facts import HostSurvey, MayBecomeRoot
from deeprig.preflight import disks, passthrough, ssh_algorithms
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.resolve import StackPlan
from deeprig.runner import link_watch, runs, timeline
from deeprig.settings import Rig
from deeprig.ssh import connection, openssh
from tasks import access, one_deploy

SLEEP = (
    "sleep.target suspend.target hibernate.target hybrid-sleep.target suspend-then-hibernate.target"
)
WAIT_ONLINE = "systemd-networkd-wait-online.service.d/50-deeprig.conf"
CLOUD_INIT_SECONDS = 900
NO_SUDO = (
    "{user} needs a password for sudo, and nobody is there to type it; run `deeprig bootstrap` and "
    "deploy as the user it makes."
)
NEEDS_A_TTY = (
    "sudo on this box wants a terminal (requiretty), and a deploy has none; run "
    "`deeprig bootstrap`, which lets the user that deploys do without."
)

UPDATES = ("apt-daily", "apt-daily-upgrade")  # the lists, and what is installed by them
GO_ON = "/etc/systemd/system/{}.service.d/50-deeprig.conf"


def survey(rig: Rig) -> Survey | None:
    """What the box is; None where it must be left alone: then it has been failed, with reasons."""
    link_watch.watch(host.state)
    if host.data.get("timeline"):
        timeline.watch(host.state)
    surveyed = look(rig)
    if surveyed is None:
        return None
    reasons = list(surveyed.strange) or [
        *objections(surveyed, rig, _copy_id(rig)),
        *disks.objections(surveyed.disks, rig.storage),
        *network_cards.objections(surveyed.network, rig.wake_on_lan),
        *docker.objections(surveyed.docker, rig, surveyed.users),
        *passthrough.objections(surveyed, rig),
        *connection.objections(host.data.dict()),
        *_twins(),
        *one_deploy.objections(),
        *ssh_algorithms.objections(surveyed, strict=rig.ssh.strict),
    ]
    reasons = reasons or access.objections(surveyed, rig)
    if reasons:
        _refuse(reasons)
        return None
    return surveyed


def _copy_id(rig: Rig) -> str:
    """What a person types to bring the work user a key."""
    if rig.notebook is None or not host.data.get("ssh_hostname"):
        return "ssh-copy-id"
    return openssh.line(host.data.dict(), rig.notebook.user, program="ssh-copy-id")


def _twins() -> list[str]:
    """That this box stands in the inventory twice: two would change it at once."""
    every = [(one.name, one.data.dict()) for one in host.state.inventory]
    pairs = connection.twins(every) if len(every) > 1 else []
    return [connection.twins_said(pair) for pair in pairs if host.name in pair]


def look(rig: Rig) -> Survey | None:
    """What the box is, whether the settings fit it or not; None where nobody gets to root."""
    if not may_become_root():
        no_sudo = NEEDS_A_TTY if "must have a tty" in _sudo() else NO_SUDO
        _refuse([no_sudo.format(user=host.data.get("ssh_user"))])
        return None
    surveyed: Survey = host.get_fact(HostSurvey, script=script(rig))
    runs.report_of(host).survey = surveyed
    return surveyed


def may_become_root() -> bool:
    """Whether sudo lets this login; where its password is known that is not asked."""
    known = host.data.get("_sudo_password")
    return bool(known or _sudo() == "yes")


def _sudo() -> str:
    return str(host.get_fact(MayBecomeRoot, _sudo=False))


def decide(rig: Rig, survey: Survey) -> StackPlan | None:
    """What goes on the box for its GPUs; None where nothing would work: then it has been failed."""
    plan = resolve.decide(survey, rig)
    if isinstance(plan, Refusal):
        _refuse([plan.sentence])
        return None
    return plan


def _refuse(reasons: list[str]) -> None:
    """Fail this host alone, before anything is changed on it."""
    runs.report_of(host).refusals = reasons
    for reason in reasons:
        operations.say(host, reason, wrong=True)
    host.state.fail_hosts({host})


@deploy("Program")
def have_program(source: Path = box_program.SOURCE) -> None:
    """What the other parts run on the box; they call it by one link."""
    box_program.put(name="Put it there, in one step", source=source)


@deploy("Program")
def tidy_program() -> None:
    """What was put and begun by now calls the new one; what is left of older ones goes."""
    old_layout.leave(name="No loose files of earlier versions, and nothing that calls them")
    box_program.tidy(name="No earlier version that nothing uses")


@deploy("apt")
def have_apt_ready(survey: Survey) -> None:
    """Nobody else at work, nothing half installed, and no questions from now on."""
    if survey.cloud_init:
        operations.shell(
            name="Wait until cloud-init has finished",
            # A minute: on a box whose cores are all taken it has needed more than five seconds.
            unless="timeout 60 cloud-init status | grep -E 'done|disabled|error|degraded'",
            # It ends with 2 where it recovered from an error (cloud-init 23.4 and later).
            commands=[f"timeout {CLOUD_INIT_SECONDS} cloud-init status --wait || [ $? = 2 ]"],
        )
    packages.wait_for_apt(name="Wait until apt is free")
    packages.repair_packages(name="Finish what an interrupted dpkg left half done")

    files.copy("/etc/apt/apt.conf.d/deeprig-apt.conf")
    files.copy("/etc/needrestart/conf.d/50-deeprig.conf")


@deploy("Base")
def prepare(survey: Survey, batched: Sequence[str] = ()) -> None:
    """The tools of every day, security updates, a clock, no sleep.

    `batched` are packages of other components, for the same transaction.
    """
    names = catalog.load("packages")
    clock = [] if survey.clocks else [names["clock"]]
    packages.install(
        name="Install the tools of every day",
        packages=list(dict.fromkeys([*names["tools"], *names["updates"], *clock, *batched])),
    )
    have_program()  # compiled for a Python that has just come
    files.copy("/etc/apt/apt.conf.d/deeprig-updates.conf")
    for unit in UPDATES:
        files.write(GO_ON.format(unit), template=GO_ON.format(UPDATES[0]))
    operations.read_units(
        name="Have systemd know how updates go on after a power cut",
        units=[f"{unit}.service" for unit in UPDATES],
    )
    operations.enable(name="Fetch security updates every day", unit=f"{UPDATES[-1]}.timer")
    _stay_awake()
    operations.enable(
        name="Keep the clock right",
        unit=(survey.clocks or (names["clock"],))[0],
        start=not survey.container,
    )


def _stay_awake() -> None:
    operations.shell(
        name="Never sleep",
        unless=f'[ "$(systemctl is-enabled {SLEEP} | sort -u)" = masked ] && echo masked',
        commands=[f"systemctl mask {SLEEP}"],
    )
    files.copy("/etc/systemd/logind.conf.d/50-deeprig.conf")
    files.units(WAIT_ONLINE)
