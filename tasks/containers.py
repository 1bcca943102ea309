"""Docker from the distribution's archive: ports on loopback, data on the data disk, work kept."""

import json
import shlex
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.facts import docker
from deeprig.facts.survey import Survey
from deeprig.operations import apt_repositories, files, packages
from deeprig.operations.box_program import SCRIPTS
from deeprig.operations.footprint import Footprint
from deeprig.settings import Containers, Rig
from tasks import container_toolkit

SETTINGS = "/etc/docker/daemon.json"
SCOPES = "/etc/systemd/system/docker-.scope.d/50-deeprig.conf"
MOUNTS = "/etc/systemd/system/docker.service.d/50-deeprig.conf"
STATE = f"{SCRIPTS}/docker-state"
SERVICE = "docker.service"
# JSON has no comments; dockerd shows its labels, and by this one the file is known as ours.
FOOTPRINT = Footprint(
    files=(
        "$(grep -ls '\"deeprig=' /etc/docker/daemon.json)",
        SCOPES,
        MOUNTS,
        container_toolkit.UPDATES,
        f"$(grep -lsxF {shlex.quote(container_toolkit.OURS)} {container_toolkit.SPEC})",
        f"/etc/systemd/system/{container_toolkit.LINKS}",
    ),
    units=(
        "docker.socket",
        SERVICE,
        "containerd.service",
        *container_toolkit.UNITS,
        container_toolkit.LINKS,
    ),
    packages=(
        *sorted({name for row in catalog.load("containers")["docker"] for name in row["packages"]}),
        *catalog.load("containers")["toolkit"]["packages"],
    ),
    before=(apt_repositories.removal(container_toolkit.NAME),),
    after=(  # Docker's own, and the folder if nothing of its owner's is in it
        "[ -e /usr/bin/dockerd ] || rm -f /etc/docker/key.json",
        "for d in /etc/docker /etc/cdi; do [ ! -d $d ] || "
        "rmdir --ignore-fail-on-non-empty $d; done",
    ),
    work="in_containers(there)",
    notice="images and volumes stay in Docker's data root, and its firewall rules until a reboot",
)
LABEL = "deeprig=written by deeprig (tasks/containers.py): edit it there"
# The driver that rotates by itself; only containers that are made from now on have it.
LOGS: dict[str, Any] = {"log-driver": "local", "log-opts": {"max-file": "5", "max-size": "20m"}}


@deploy("Containers")
def provide(rig: Rig, survey: Survey) -> None:
    """Docker, and NVIDIA's container toolkit where there is a card, or one to prepare for."""
    settings = rig.containers or Containers()
    for remark in docker.remarks(rig):
        operations.say(host, remark)
    row = release(survey)
    cards = bool(survey.graphics.gpus or (rig.driver and rig.driver.gpus))
    if cards:
        container_toolkit.provide(settings=settings, survey=survey)
    else:
        operations.say(host, "No container toolkit: there is no NVIDIA card in the box.")

    _settings(rig=rig, engine=row["engine"], cards=cards)
    packages.install(name="Install Docker", packages=row["packages"], watched=True)
    operations.converge(name="Have Docker run with these settings", command=STATE)
    if settings.user:
        operations.shell(
            name=f"Let {settings.user} use Docker",
            unless=f"id -nG {shlex.quote(settings.user)} | tr ' ' '\\n' | grep -x docker",
            commands=[f"usermod -aG docker {shlex.quote(settings.user)}"],
        )
    if cards:
        container_toolkit.keep_cards()
        container_toolkit.describe_cards()


def _settings(rig: Rig, engine: int, *, cards: bool) -> None:
    """Before the package comes, which starts Docker at once."""
    files.copy(SCOPES)
    files.write(MOUNTS, folder=docker.folder(rig))
    files.put(
        name=f"Write {SETTINGS}",
        dest=SETTINGS,
        content=json.dumps(daemon(rig, engine, cards=cards), indent=2),
        validate="{ ! dockerd --help 2>/dev/null | grep -q -e --validate || "
        "dockerd --validate --config-file=%s >&2; }",
    )


def release(survey: Survey) -> dict[str, Any]:
    """What this system's archive has of Docker."""
    rows: list[dict[str, Any]] = catalog.load("containers")["docker"]
    return next(row for row in rows if row["system"] == f"{survey.system}-{survey.version}")


def daemon(rig: Rig, engine: int, *, cards: bool) -> dict[str, Any]:
    """All of daemon.json, in words that this engine knows."""
    publish = rig.containers.publish if rig.containers else Containers().publish
    settings: dict[str, Any] = {
        "labels": [LABEL],
        "data-root": docker.folder(rig),
        "live-restore": True,
        "ip": publish,
        # "ip" is for the default network alone; compose makes one for each project.
        "default-network-opts": {
            "bridge": {"com.docker.network.bridge.host_binding_ipv4": publish}
        },
        # By containerd's store the images would be below /var/lib/containerd.
        "features": {"cdi": True, "containerd-snapshotter": False},
        **LOGS,
    }
    if cards:
        settings["runtimes"] = container_toolkit.RUNTIMES
    if rig.proxy:
        proxies = {"http-proxy": rig.proxy, "https-proxy": rig.proxy}
        settings["proxies"] = {**proxies, "no-proxy": "localhost,127.0.0.1,::1"}
    since: dict[str, int] = catalog.load("containers")["since"]
    return {word: value for word, value in settings.items() if engine >= since.get(word, 0)}
