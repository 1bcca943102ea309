"""Docker as its owner meets it: what a container publishes, where it is kept, who may use it."""

import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

from deeprig import catalog
from deeprig.facts import docker
from deeprig.facts.survey import Survey
from deeprig.operations import apt_repositories
from deeprig.settings import Containers, Rig
from deeprig.ssh import connection, dial
from deeprig_cli.verify.runner import NothingThere
from tasks import container_toolkit, containers
from tests.host.programs import ask

# A container without an image of its own: the box's /usr, read-only, on a root of links.
LINKS = "bin=usr/bin lib=usr/lib lib64=usr/lib64 sbin=usr/sbin"
IMAGE = f"""
set -e; d=$(mktemp -d); cd $d
for l in {LINKS}; do [ -e /${{l%%=*}} ] && ln -s ${{l#*=}} ${{l%%=*}}; done
mkdir usr etc; tar -c . | docker import - $1 >/dev/null; rm -r $d
"""
# `docker ps`: 127.0.0.1:8080->80/tcp, :::8080->80/tcp
PUBLISHED = re.compile(r"([^\s,]+):[\d-]+->")
LOOPBACK = {"127.0.0.1", "::1", "[::1]"}
OUR_IMAGES = "deeprig-verify-"
# What systemd lets a container reach; NVIDIA's cards are of major 195 (the kernel's devices.txt).
ALLOWED, CARDS = "systemctl show --property=DeviceAllow %s", "/dev/char/195:"
SERVER = "docker run --detach --volume /usr:/usr:ro {more} {image} python3 -I -m http.server 80"


@pytest.fixture(scope="module")
def settings(rig: Rig) -> Containers:
    if rig.containers is None:
        pytest.skip("Docker is left alone (containers=None)")
    return rig.containers


@pytest.fixture(scope="module")
def info(host: Host, settings: Containers) -> dict[str, Any]:
    """What Docker says of itself."""
    with host.sudo():
        found: dict[str, Any] = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert not found.get("ServerErrors"), found["ServerErrors"]
    return found


class Running(NamedTuple):
    """A container of ours, as `docker inspect` shows it."""

    id: str
    inspected: dict[str, Any]

    @property
    def bindings(self) -> list[tuple[str, int]]:
        """Addresses and ports of the box that lead to its port 80."""
        found = self.inspected["NetworkSettings"]["Ports"]["80/tcp"] or []
        return [(one["HostIp"], int(one["HostPort"])) for one in found]


@pytest.fixture(scope="module")
def own_network(host: Host, info: dict[str, Any]) -> Iterator[str]:
    """A network such as compose makes for each project."""
    name = f"{OUR_IMAGES}{uuid.uuid4().hex[:8]}"
    with host.sudo():
        host.check_output("docker network create %s", name)
    yield name
    with host.sudo():
        host.run("docker network rm %s", name)


@pytest.fixture(scope="module")
def run(host: Host, info: dict[str, Any], own_network: str) -> Iterator[Callable[..., Running]]:
    """Run a web server in a container with these options; gone when the checks are."""
    image = f"{OUR_IMAGES}{uuid.uuid4().hex[:8]}"
    made: list[str] = []
    with host.sudo():
        host.check_output("sh -c %s sh %s", IMAGE, image)

    def start(more: str) -> Running:
        with host.sudo():
            made.append(host.check_output(SERVER.format(image=shlex.quote(image), more=more)))
            [inspected] = json.loads(host.check_output("docker inspect %s", made[-1]))
        return Running(made[-1], inspected)

    yield start
    with host.sudo():
        host.run(f"docker rm --force --volumes {shlex.join(made)}; docker rmi %s", image)


def answers(data: dict[str, Any], port: int) -> bool:
    """Whether something listens there, asked the way that this machine goes there."""
    try:
        dial.by(connection.entry_of(data), port, seconds=3).close()
    except OSError:
        return False
    return True


def answers_on_the_box(host: Host, port: int) -> bool:
    ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port:d}', timeout=5).status"
    tries = f'for i in 1 2 3 4 5 6 7 8; do python3 -I -c "{ask}" && exit; sleep 0.5; done; exit 1'
    return bool(host.run("sh -c %s", tries).rc == 0)


@pytest.mark.remedy("`journalctl -u docker` says why it does not run")
def test_it_runs_and_comes_back_after_a_boot(host: Host, info: dict[str, Any]) -> None:
    assert host.service(containers.SERVICE).is_enabled
    assert info["ServerVersion"]


@pytest.mark.remedy("stop what runs in Docker, then run the deploy again")
def test_it_runs_with_the_settings_it_has(host: Host, rig: Rig, info: dict[str, Any]) -> None:
    with host.sudo():
        assert host.check_output(f"{containers.STATE} state") == "ok"
    assert info["LiveRestoreEnabled"] is True
    assert info["Labels"] == [containers.LABEL]


def test_images_and_volumes_are_kept_where_a_reinstall_spares_them(
    host: Host, rig: Rig, info: dict[str, Any]
) -> None:
    assert info["DockerRootDir"] == docker.folder(rig)
    assert "containerd" not in json.dumps(info["DriverStatus"])
    if rig.storage is None:
        pytest.skip("there is no data folder (storage=None)")
    with host.sudo():
        device = "stat -c %%d %s"
        assert host.check_output(device, info["DockerRootDir"]) == host.check_output(
            device, rig.storage.folder
        )


@pytest.mark.tier("functional")
@pytest.mark.parametrize("kind", ["the default network", "a network of its own"])
def test_a_published_port_is_where_the_settings_say_and_nowhere_else(
    host: Host,
    data: dict[str, Any],
    survey: Survey,
    settings: Containers,
    run: Callable[..., Running],
    own_network: str,
    kind: str,
) -> None:
    since = catalog.load("containers")["since"]["default-network-opts"]
    if kind != "the default network" and containers.release(survey)["engine"] < since:
        pytest.skip(f"only from Docker {since} on; name 127.0.0.1 with -p there")
    network = "" if kind == "the default network" else f"--network {shlex.quote(own_network)}"
    container = run(f"--publish 80 {network}")
    if settings.publish == "0.0.0.0":
        assert {address for address, _ in container.bindings} <= {"0.0.0.0", "::"}
        return
    [(address, port)] = container.bindings
    assert address == settings.publish
    if address != "127.0.0.1":
        return
    assert answers_on_the_box(host, port)
    assert answers(data, connection.doors(data)[0])  # the control
    assert not answers(data, port)


@pytest.mark.remedy("publish it with -p 127.0.0.1:PORT:PORT; ufw does not see these ports")
def test_nobody_publishes_a_port_to_everybody_unnoticed(
    host: Host, info: dict[str, Any], warn: Callable[[str], None]
) -> None:
    with host.sudo():
        ports = host.check_output("docker ps --format '{{.Image}}|{{.Names}} {{.Ports}}'")
    others = [line.split("|") for line in ports.splitlines() if not line.startswith(OUR_IMAGES)]
    open_ones = [text for _, text in others if set(PUBLISHED.findall(text)) - LOOPBACK]
    if open_ones:
        warn(f"reachable from outside, past the firewall: {'; '.join(open_ones)}")


@pytest.mark.tier("functional")
def test_logs_rotate_before_they_fill_the_disk(
    info: dict[str, Any], run: Callable[..., Running]
) -> None:
    assert info["LoggingDriver"] == containers.LOGS["log-driver"]
    logs = run("").inspected["HostConfig"]["LogConfig"]
    assert logs == {"Type": containers.LOGS["log-driver"], "Config": containers.LOGS["log-opts"]}


@pytest.mark.remedy("`sudo gpasswd -d NAME docker` takes somebody out")
def test_group_docker_is_who_the_settings_say(
    host: Host, rig: Rig, settings: Containers, warn: Callable[[str], None]
) -> None:
    members = set(filter(None, host.check_output("getent group docker").split(":")[3].split(",")))
    assert {settings.user} - {None} <= members
    assert not (rig.notebook and rig.notebook.user in members)
    others = sorted(members - {settings.user})
    if others:
        warn(f"as good as root besides: {', '.join(others)}")


def test_the_notebooks_user_does_not_reach_docker(
    host: Host, rig: Rig, info: dict[str, Any]
) -> None:
    if rig.notebook is None:
        pytest.skip("no work user is named (notebook=None)")
    with host.sudo(rig.notebook.user):
        refused = host.run("docker ps")
    assert refused.rc != 0
    assert "permission denied" in refused.stderr.lower()
    with host.sudo():
        assert host.run("docker ps").rc == 0  # the control


@pytest.fixture(scope="module")
def toolkit(host: Host, rig: Rig, survey: Survey, settings: Containers) -> dict[str, str]:
    """Package -> version of the container toolkit."""
    if not (survey.graphics.gpus or (rig.driver and rig.driver.gpus)):
        raise NothingThere("no NVIDIA card in the box")
    names = catalog.load("containers")["toolkit"]["packages"]
    said = host.check_output("dpkg-query -W -f '${Package} ${Version}\\n' " + " ".join(names))
    return dict(line.split() for line in said.splitlines())


def test_the_toolkit_is_whole_and_of_one_version(toolkit: dict[str, str]) -> None:
    assert set(toolkit) == set(catalog.load("containers")["toolkit"]["packages"])
    assert len(set(toolkit.values())) == 1


def test_the_toolkit_gets_its_security_fixes(host: Host, toolkit: dict[str, str]) -> None:
    with host.sudo():
        assert set(host.check_output("apt-mark showhold").split()) & set(toolkit) == set()
        name = container_toolkit.NAME
        assert host.check_output(f"{apt_repositories.SCRIPT} state %s", name) == "ok"
        told = host.check_output("apt-config dump Unattended-Upgrade::Origins-Pattern")
        listed = host.file(container_toolkit.SOURCES).content_string
        site = re.findall(r"^URIs: https?://([^/:]+)", listed, re.MULTILINE)[0]
        assert f'site={site}"' in told
        left_alone = host.check_output("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert [name for name in toolkit if f'"{name}$"' in left_alone] == []


@pytest.mark.tier("functional")
@pytest.mark.usefixtures("stack_plan")  # a pretended card is marked as such
def test_a_container_is_given_the_cards(
    host: Host,
    survey: Survey,
    toolkit: dict[str, str],
    info: dict[str, Any],
    run: Callable[..., Running],
) -> None:
    since = catalog.load("containers")["since"]["features"]
    if containers.release(survey)["engine"] < since:
        pytest.skip(f"--device nvidia.com/gpu=all needs Docker {since}; use --runtime=nvidia")
    if ask(host, "nvidia-smi", "-L").status:
        pytest.skip("no driver answers for a card")
    container = run("--device nvidia.com/gpu=all")
    with host.sudo():
        nodes = host.check_output("docker exec %s ls /dev", container.id).split()
        assert "nvidia0" in nodes, f"a container with --device has {', '.join(nodes)} alone"
        without = host.check_output("docker exec %s ls /dev", run("").id).split()  # the control
        given = [node for node in without if node.startswith("nvidia")]
        assert given == [], f"a container that asks for no card has {', '.join(given)}"
        if info["CgroupDriver"] != "systemd":
            return  # no daemon-reload touches its devices then
        stat = "docker exec %s stat -c %%t:%%T /dev/nvidia0"
        device = ":".join(str(int(n, 16)) for n in host.check_output(stat, container.id).split(":"))
        allowed = host.check_output(ALLOWED, f"docker-{container.id}.scope")
    assert f"/dev/char/{device} " in allowed, (
        f"systemd does not know of {device} in a container: at the next daemon-reload it loses its "
        f"cards; `systemctl status {container_toolkit.LINKS}` says why it has no link"
    )


@pytest.mark.remedy("make it anew with --device nvidia.com/gpu=all (before Docker 25: "
                    "--runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=all)")  # fmt: skip
def test_no_container_loses_its_cards_at_a_daemon_reload(
    host: Host, info: dict[str, Any], toolkit: dict[str, str], warn: Callable[[str], None]
) -> None:
    """Those that got them behind systemd's back, as by --gpus all; nothing is reloaded here."""
    if info["CgroupDriver"] != "systemd":
        pytest.skip("Docker does not have systemd look after its containers")
    with host.sudo():
        ids = host.check_output("docker ps --quiet --no-trunc").split()
        said = host.check_output(f"docker inspect {shlex.join(ids)}") if ids else "[]"
        losing = [
            container["Name"].lstrip("/")
            for container in json.loads(said)
            if asks_for_cards(container["HostConfig"])
            and CARDS not in host.check_output(ALLOWED, f"docker-{container['Id']}.scope")
        ]
    if losing:
        warn(f"the next daemon-reload takes the GPUs from {', '.join(losing)}")


def asks_for_cards(asked: dict[str, Any]) -> bool:
    """Whether a container was made with cards, by any of the ways there are."""
    requests = asked.get("DeviceRequests") or []
    return asked.get("Runtime") == "nvidia" or any(
        ["gpu"] in (one.get("Capabilities") or []) or "nvidia.com" in str(one.get("DeviceIDs"))
        for one in requests
    )
