"""Docker in a box: from outside only what was meant, and nobody's container ends by a deploy.

The cards and NVIDIA's repository of the container toolkit are the lab's stand-ins.
"""

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deeprig.runner import runs
from deeprig.settings import Containers, Rig, Storage, User
from deeprig.ssh import connection
from deploy import build
from lab import boxes, fake_gpu
from lab.stand_ins import container_toolkit
from tasks import base, containers, users
from tests.lab.conftest import ROOT, host_data, run_on, shell, variant, wait_for

pytestmark = pytest.mark.lab

Login = Callable[..., str]
DATA = "/mnt/data-disk"
FOLDER = f"{DATA}/docker"
# An image without a registry: busybox, and a page to serve.
IMAGE = """
set -e; d=$(mktemp -d); mkdir -p $d/bin $d/www; cp /usr/bin/busybox $d/bin/
for a in sh httpd sleep yes head ls env cat; do ln -s busybox $d/bin/$a; done
echo "a page" > $d/www/index.html; tar -C $d -c . | docker import - lab
"""
WEB = "sudo docker run --detach --name {} lab /bin/httpd -f -p 80 -h /www"
PID = "sudo docker inspect -f '{{{{.State.Pid}}}} {{{{.State.StartedAt}}}}' {}"


def with_docker(rig: Rig, **settings: Any) -> Rig:
    """The lab's box with Docker, and without what takes long and has nothing to do with it."""
    bare = replace(rig, notebook=None, python=None, wake_on_lan=None, cuda=None, driver=None)
    return replace(bare, **({"containers": Containers()} | settings))


def deploy(box: boxes.Box, **settings: Any) -> runs.Report:
    """The whole order of work."""
    return run_on(box, lambda rig: build(with_docker(rig, **settings)))


def deploy_docker(box: boxes.Box, **settings: Any) -> runs.Report:
    """Only what the order of work does for users and Docker."""

    def part(rig: Rig) -> None:
        wanted = with_docker(rig, **settings)
        survey = base.survey(rig=wanted)
        if survey:
            base.have_program()
            users.provide(settings=wanted.users)
            containers.provide(rig=wanted, survey=survey)

    return run_on(box, part)


def inventory(box: boxes.Box, tmp_path: Path) -> Path:
    return variant(
        box,
        tmp_path / "inventory.py",
        ("import Notebook", "import Containers, Notebook"),
        ('notebook=Notebook(user="ai")', "notebook=None, containers=Containers()"),
        ('python=Python(python="system")', "python=None, wake_on_lan=None, cuda=None, driver=None"),
    )


def page(address: str, port: int) -> str:
    """What a web server answers this machine; empty where nothing does."""
    try:
        with socket.create_connection((address, port), timeout=3) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.makefile().read().rpartition("\n\n")[2].strip()
    except OSError:
        return ""


def on_the_box(login: Login, port: int) -> str:
    return login(f"curl -sS --retry 5 --retry-connrefused http://127.0.0.1:{port}").strip()


@pytest.fixture(scope="module")
def before(box: boxes.Box) -> dict[str, runs.Report]:
    """What was refused while the box was as its installer left it."""

    def attempt(command: str, undo: str) -> runs.Report:
        shell(client, f"sudo sh -c '{command}'")
        report = deploy(box)
        shell(client, f"sudo sh -c '{undo}'")
        return report

    client = connection.connect(host_data(box))
    try:
        settings = "/etc/docker/daemon.json"
        foreign = f'mkdir -p /etc/docker; echo "{{\\"debug\\": true}}" > {settings}'
        kept = "mkdir -p /var/lib/docker/volumes/mine"
        return {
            "settings": attempt(foreign, "rm -r /etc/docker"),
            "volume": attempt(kept, "rm -r /var/lib/docker"),
        }
    finally:
        client.close()


@pytest.fixture(scope="module", autouse=True)
def deployed(box: boxes.Box, before: dict[str, runs.Report]) -> runs.Report:
    """Docker by a deploy, and an image to run."""
    busybox = "apt-get -qq --no-install-recommends install busybox-static"
    client = connection.connect(host_data(box))
    try:
        shell(client, f"sudo sh -c 'apt-get -qq update && {busybox}' 2>&1")
        report = deploy(box)
        assert report.error is None, report.steps
        shell(client, f"sudo sh -c '{IMAGE}'")
    finally:
        client.close()
    return report


@pytest.fixture(autouse=True)
def no_container_is_left(login: Login) -> Iterator[None]:
    yield
    login("sudo docker ps -aq | xargs -r sudo docker rm -f", check=False)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [("settings", "Docker reads no second file"), ("volume", "1 volume in /var/lib/docker")],
)
def test_what_somebody_has_of_docker_is_refused_before_anything_is_touched(
    before: dict[str, runs.Report], deployed: runs.Report, found: str, sentence: str
) -> None:
    report = before[found]
    assert report.error is not None
    assert report.steps == []
    assert any(sentence in one for one in report.refusals), report.refusals
    assert "Containers | Install Docker" in deployed.changes  # the control: gone, it is welcome


def test_a_second_deploy_changes_nothing(box: boxes.Box) -> None:
    report = deploy(box)
    assert report.error is None
    assert report.changes == []


def test_every_deploy_says_what_docker_means(
    box: boxes.Box, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="pyinfra")
    deploy_docker(box)
    assert "as good as root" in caplog.text
    assert "past ufw" in caplog.text


@pytest.mark.parametrize("network", ["bridge", "own"])
def test_a_published_port_is_reached_on_the_box_and_not_from_outside(
    box: boxes.Box, login: Login, network: str
) -> None:
    login("sudo docker network create own 2>/dev/null", check=False)
    login(WEB.format(f"web -p 8080:80 --network {network}"))
    login(WEB.format(f"open -p 0.0.0.0:8081:80 --network {network}"))
    login("sudo systemctl stop plain 2>/dev/null", check=False)
    login("sudo systemd-run --unit plain busybox httpd -f -p 8083 -h /etc")
    assert on_the_box(login, 8080) == "a page"
    assert on_the_box(login, 8081) == "a page"
    assert page(box.host, 8080) == ""
    # The controls: whoever names 0.0.0.0 goes past ufw, which keeps out a server beside Docker.
    assert page(box.host, 8081) == "a page"
    assert "Status: active" in login("sudo ufw status")
    assert login("ss -Hltn sport = :8083") != ""
    assert page(box.host, 8083) == ""
    login("sudo systemctl stop plain")


def test_a_restart_of_docker_ends_no_container(login: Login) -> None:
    login(WEB.format("web -p 8080:80"))
    running = login(PID.format("web"))
    service = login("systemctl show -P MainPID docker")
    login("sudo systemctl restart docker")
    assert login("systemctl show -P MainPID docker") != service  # the control: it was restarted
    assert login(PID.format("web")) == running
    assert on_the_box(login, 8080) == "a page"


def test_logs_are_cut_off_before_they_fill_the_disk(login: Login) -> None:
    login(
        "sudo docker run --name loud lab /bin/sh -c 'yes 0123456789 | head -c 160000000'"
        + " >/dev/null"
    )
    identity = login("sudo docker inspect -f '{{.Id}}' loud").strip()
    files = login(f"sudo sh -c 'stat -c \"%s %n\" {FOLDER}/containers/{identity}/local-logs/*'")
    sizes = [int(line.split()[0]) for line in files.splitlines()]
    assert len(sizes) == int(containers.LOGS["log-opts"]["max-file"])
    assert sum(sizes) < 100_000_000


def test_what_docker_keeps_is_on_the_data_disk(login: Login) -> None:
    login("sudo docker run --rm -v kept:/kept lab /bin/sh -c 'echo mine > /kept/file'")
    assert login(f"sudo cat {FOLDER}/volumes/kept/_data/file").strip() == "mine"
    assert login(f"stat -c %d {DATA}") == login(f"sudo stat -c %d {FOLDER}")
    assert login("sudo ls /var/lib/docker 2>/dev/null || true") == ""
    unit = login("systemctl show -P RequiresMountsFor docker").split()
    assert FOLDER in unit


def test_another_data_folder_is_refused_while_something_is_kept(box: boxes.Box) -> None:
    report = deploy_docker(box, storage=Storage(folder="/srv/other"))
    assert report.steps == []
    [sentence] = report.refusals
    assert re.search(
        rf"keeps 1 image.* in {FOLDER} and is to keep them in /srv/other/docker", sentence
    )
    assert deploy_docker(box).error is None  # the control


def test_new_settings_wait_for_a_container_that_would_end(
    box: boxes.Box, login: Login, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Docker without live-restore: a restart would end what runs."""
    edit = f'sudo sed -i \'s/"live-restore": true/"live-restore": false/\' {containers.SETTINGS}'
    login(f"{edit}; sudo systemctl restart docker")
    login(WEB.format("web -p 8080:80"))
    running = login(PID.format("web"))
    caplog.set_level(logging.INFO, logger="pyinfra")
    assert deploy_docker(box).changes == [f"Containers | Write {containers.SETTINGS}"]
    assert "earlier settings while web runs" in caplog.text
    assert login(PID.format("web")) == running
    caplog.clear()
    assert deploy_docker(box).changes == []
    assert "earlier settings while web runs" in caplog.text  # what is owed is read from the box
    checks = verify(inventory(box, tmp_path))
    assert [c["check"] for c in checks if c["outcome"] == "failed"] == [
        "it runs with the settings it has"
    ]
    login("sudo docker rm -f web")
    assert deploy_docker(box).changes == ["Containers | Have Docker run with these settings"]
    assert "true" in login("sudo docker info --format '{{.LiveRestoreEnabled}}'")


def test_new_settings_come_at_once_where_containers_live_on(box: boxes.Box, login: Login) -> None:
    login(WEB.format("web -p 8080:80"))
    running = login(PID.format("web"))
    report = deploy_docker(box, proxy="http://proxy.lan:3128")
    told = login("sudo docker info --format '{{.HTTPProxy}}'").strip()
    assert deploy_docker(box).error is None
    assert "Containers | Have Docker run with these settings" in report.changes
    assert told == "http://proxy.lan:3128"  # the control: it was restarted
    assert login(PID.format("web")) == running


def test_another_address_to_publish_on_waits_until_nothing_runs(
    box: boxes.Box, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    """The default network keeps its address while a container is in it, whatever is restarted."""
    login(WEB.format("web -p 8080:80"))
    caplog.set_level(logging.INFO, logger="pyinfra")
    everywhere = Containers(publish="0.0.0.0")
    changed = deploy_docker(box, containers=everywhere).changes
    text = caplog.text
    login("sudo docker rm -f web")
    later = deploy_docker(box, containers=everywhere).changes
    login(WEB.format("new -p 8084:80"))
    served = on_the_box(login, 8084), page(box.host, 8084)
    login("sudo docker rm -f new")
    assert deploy_docker(box).error is None
    assert changed == [f"Containers | Write {containers.SETTINGS}"]
    assert "earlier settings while web runs" in text
    assert later == ["Containers | Have Docker run with these settings"]
    assert served == ("a page", "a page")  # the new address is in force


def verify(file: Path) -> list[dict[str, Any]]:
    """The checks of Docker alone, as `deeprig verify` has them."""
    alone = (
        "from deeprig_cli import cli; from deeprig_cli.verify import runner; "
        "runner.CHECKS /= 'test_containers.py'; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", alone, "verify", "--inventory", str(file), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_verify_finds_all_well_and_leaves_nothing_behind(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    left = "sudo docker ps -aq; sudo docker images -q; sudo docker network ls -q"
    earlier = login(left)
    outcomes = [check["outcome"] for check in verify(inventory(box, tmp_path))]
    assert set(outcomes) == {"passed", "skipped"}
    assert outcomes.count("passed") >= 7
    assert login(left) == earlier


def test_verify_warns_of_a_port_that_is_open_to_everybody(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    login(WEB.format("open -p 0.0.0.0:8081:80"))
    [warned] = [check for check in verify(inventory(box, tmp_path)) if check["outcome"] == "warned"]
    assert "open 0.0.0.0:8081->80/tcp" in warned["reason"]


def test_only_who_is_named_may_use_docker(box: boxes.Box, login: Login) -> None:
    key = box.key.with_suffix(".pub").read_text()
    people = (User(name="anna", keys=(key,)), User(name="otto", keys=(key,)))
    refused = deploy_docker(box, containers=Containers(user="anna"))
    assert "nobody has that name" in refused.refusals[0]
    report = deploy_docker(box, containers=Containers(user="anna"), users=people)
    assert report.error is None
    asked = "docker ps --format '{{.ID}}' >/dev/null 2>&1 && echo may || echo may not"
    assert login(f'sudo -u anna sh -c "{asked}"').strip() == "may"
    assert login(f'sudo -u otto sh -c "{asked}"').strip() == "may not"
    assert deploy_docker(box, containers=Containers(user="anna"), users=people).changes == []


def test_after_a_reboot_it_is_as_it_was(box: boxes.Box, login: Login) -> None:
    login(WEB.format("web -p 8080:80 --restart unless-stopped"))
    boxes.reboot(box.name)
    wait_for(lambda: "Up" in login("sudo docker ps --filter name=web"), 30)
    assert on_the_box(login, 8080) == "a page"
    assert page(box.host, 8080) == ""
    assert deploy(box).changes == []


@pytest.fixture(scope="module")
def served() -> Iterator[container_toolkit.Repository]:
    with container_toolkit.serve(["1.19.1-1"]) as repository:
        yield repository


@pytest.fixture
def cards(box: boxes.Box) -> Iterator[None]:
    """Two pretended cards, and a driver that answers for them."""
    fake_gpu.put(box, "four-1080ti")
    yield
    fake_gpu.take_out(box)


def test_the_toolkit_comes_whole_described_and_patched(
    box: boxes.Box, login: Login, served: container_toolkit.Repository, cards: None
) -> None:
    """With the lab's stand-ins for the cards and for NVIDIA's packages."""
    mirror = Containers(mirror=served.url)
    unknown = deploy_docker(box, containers=mirror)
    asked = "".join(step.output for step in unknown.steps if step.status == "failed")
    assert f'Containers(repo_key="{served.fingerprint}")' in asked
    assert "nvidia" not in login("ls /etc/apt/sources.list.d")
    confirmed = Containers(mirror=served.url, repo_key=served.fingerprint)
    # One of the four is there already, and newer ones are offered: apt alone would leave it so.
    login("sudo systemctl is-active docker")
    report = deploy_docker(box, containers=confirmed)
    assert report.error is None, [s.output for s in report.steps if s.status == "failed"]
    assert versions(login) == {"1.19.1-1"}
    devices = "sudo docker run --rm --device nvidia.com/gpu=all lab /bin/ls /dev"
    assert {"nvidia0", "nvidia3"} <= set(login(devices).split())
    assert "nvidia0" not in login("sudo docker run --rm lab /bin/ls /dev")  # the control
    assert deploy_docker(box, containers=confirmed).changes == []

    served.offer("1.20.1-1")
    assert deploy_docker(box, containers=confirmed).changes == []  # a deploy moves nothing
    login("sudo apt-get update -qq; sudo unattended-upgrade")
    assert versions(login) == {"1.20.1-1"}
    login(
        "sudo apt-get install -qq --allow-downgrades libnvidia-container1=1.19.1-1 "
        "libnvidia-container-tools=1.19.1-1 nvidia-container-toolkit- 2>&1"
    )
    assert deploy_docker(box, containers=confirmed).error is None
    assert versions(login) == {"1.20.1-1"}


def versions(login: Login) -> set[str]:
    """Of the toolkit's four packages."""
    said = login("dpkg-query -W -f '${Status} ${Version}\\n' '*nvidia-container*'").splitlines()
    found = [line.split()[-1] for line in said if line.startswith("install ok installed")]
    assert len(found) == 4, said
    return set(found)
