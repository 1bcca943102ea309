"""What there is of Docker on a box, and what of it stands in the way of deeprig's."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from deeprig.parsers import untrusted
from deeprig.settings import Rig

SCRIPT = (Path(__file__).parent / "docker.sh").read_text()
USUAL_FOLDER = "/var/lib/docker"
OURS_OFF = "leave Docker to yourself with Rig(containers=None)"


@dataclass(frozen=True, kw_only=True)
class Docker:
    """`other` are packages that bring another Docker. `folder` is where it keeps something, with
    the number of `images`, `containers` and `volumes`; empty where it keeps nothing.
    """

    foreign_settings: bool = False
    other: tuple[str, ...] = ()
    swarm: bool = False
    folder: str = ""
    images: int = 0
    containers: int = 0
    volumes: int = 0


def read(found: dict[str, list[str]]) -> Docker:
    """Docker's part of a survey: `key -> values` as SCRIPT printed them. Raises NotSo."""
    folder, *counts = found.get("docker_keeps", ["  0 0 0"])[0].rsplit(" ", 3)
    images, containers, volumes = map(untrusted.number, counts)
    return Docker(
        foreign_settings="docker_settings" in found,
        other=tuple(map(untrusted.words, found.get("docker_other", []))),
        swarm="docker_swarm" in found,
        folder=untrusted.path(folder) if folder.strip() else "",
        images=images,
        containers=containers,
        volumes=volumes,
    )


def folder(rig: Rig) -> str:
    """Where Docker is to keep images, containers and volumes."""
    return f"{rig.storage.folder}/docker" if rig.storage else USUAL_FOLDER


def remarks(rig: Rig) -> list[str]:
    """What whoever asks for Docker should know, at every run and in every plan."""
    if rig.containers is None:
        return []
    return [
        "Docker: whoever may use it is as good as root, and a port that a container publishes "
        f"goes past ufw; where -p names no address it is published on {rig.containers.publish}."
    ]


def objections(docker: Docker, rig: Rig, users: tuple[str, ...]) -> list[str]:
    """Why deeprig's Docker must not come to this box, with the way out; `users` have accounts."""
    if rig.containers is None:
        return []
    sentences = [
        f"Docker is there already, by {other}, which would go or fight with the distribution's "
        f"docker.io; take it out first, or {OURS_OFF}."
        for other in docker.other
    ]
    if docker.foreign_settings:
        sentences.append(
            "/etc/docker/daemon.json is not deeprig's, and Docker reads no second file; move it "
            "away with `sudo mv /etc/docker/daemon.json /etc/docker/daemon.json.old`, or "
            f"{OURS_OFF}."
        )
    if docker.swarm:
        sentences.append(
            "Docker is in a swarm there, and then a restart ends every container; leave it with "
            f"`sudo docker swarm leave`, or {OURS_OFF}."
        )
    root = folder(rig)
    if docker.folder and docker.folder != root:
        way = shlex.quote(_move(docker.folder, root))
        sentences.append(
            f"Docker keeps {_kept(docker)} in {docker.folder} and is to keep them in {root}; "
            f"while no container runs, move them with `sudo sh -c {way}`."
        )
    return [*sentences, *_people(rig, users)]


def _move(old: str, new: str) -> str:
    made, moved = (
        shlex.join(["mkdir", "-p", str(Path(new).parent)]),
        shlex.join(["mv", "-T", old, new]),
    )
    return f"systemctl stop docker.socket docker && {made} && {moved}"


def _kept(docker: Docker) -> str:
    counts = {
        "image": docker.images,
        "container": docker.containers,
        "volume": docker.volumes,
    }
    amounts = [f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n]
    return " and ".join(amounts)


def _people(rig: Rig, users: tuple[str, ...]) -> list[str]:
    name = rig.containers.user if rig.containers else None
    if name is None:
        return []
    if any(user.name == name and not user.present for user in rig.users):
        return [f"Containers.user is {name!r}, whom Rig.users takes away; name another user."]
    if name not in users and not any(user.name == name for user in rig.users):
        return [
            f"Containers.user is {name!r}, and nobody has that name; "
            f"add User(name={name!r}, keys=...) to Rig.users."
        ]
    return []
