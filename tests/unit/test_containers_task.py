"""What the deploy of containers would do, and the decisions in it, without a machine."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deeprig import catalog
from deeprig.facts import docker
from deeprig.facts.docker import Docker, objections, read
from deeprig.settings import Containers, Driver, Notebook, Rig, SettingsError, Storage, User
from tasks import container_toolkit, containers
from tasks.containers import LABEL, daemon
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_deploy import components, plan
from tests.unit.test_survey import KEY

BARE: dict[str, Any] = {
    "notebook": None,
    "python": None,
    "driver": None,
    "cuda": None,
    "wake_on_lan": None,
}
RIG = Rig(containers=Containers(), **BARE)
WITH_A_CARD = [*DEBIAN_13, "gpu=0000:01:00.0 10de:2204 030000"]


def names(survey: list[str]) -> list[str]:
    steps = plan(RIG, survey).steps
    return [step.name.partition(" | ")[2] for step in steps if step.name.startswith("Containers")]


def test_docker_comes_after_the_way_in_and_before_python() -> None:
    order = components(plan(Rig(containers=Containers(), driver=None, cuda=None)))
    assert order.index("SSH and firewall") < order.index("Containers")
    assert order.index("Containers") < order.index("Python environments")


def test_docker_is_off_unless_it_is_asked_for() -> None:
    assert "Containers" not in components(plan(Rig(driver=None, cuda=None)))


def test_docker_finds_its_settings_when_its_package_starts_it() -> None:
    steps = names(DEBIAN_13)
    assert steps.index("Write /etc/docker/daemon.json") < steps.index("Install Docker")
    assert steps.index("Install Docker") < steps.index("Have Docker run with these settings")
    assert not any("toolkit" in step for step in steps)


def test_the_toolkit_comes_before_docker_and_only_for_a_card() -> None:
    steps = names(WITH_A_CARD)
    assert steps.index("Install the container toolkit") < steps.index("Install Docker")
    assert steps[-1] == "Describe the cards to Docker (CDI)"


def test_each_system_has_its_docker() -> None:
    systems = [f"{row['id']}-{row['version']}" for row in catalog.load("systems")["system"]]
    assert [row["system"] for row in catalog.load("containers")["docker"]] == sorted(systems)


@pytest.mark.parametrize(
    ("engine", "unknown"),
    [(20, {"default-network-opts", "features", "proxies"}), (26, set()), (29, set())],
)
def test_an_engine_is_told_only_what_it_knows(engine: int, unknown: set[str]) -> None:
    rig = Rig(containers=Containers(), proxy="http://proxy.lan:3128", **BARE)
    everything = set(daemon(rig, 99, cards=True))
    assert set(daemon(rig, engine, cards=True)) == everything - unknown


def test_ports_are_published_where_the_settings_say_on_every_network() -> None:
    for publish in ("127.0.0.1", "0.0.0.0"):
        wanted = daemon(Rig(containers=Containers(publish=publish), **BARE), 26, cards=False)
        options = wanted["default-network-opts"]["bridge"]
        assert wanted["ip"] == publish
        assert options == {"com.docker.network.bridge.host_binding_ipv4": publish}


def test_docker_keeps_its_data_in_the_data_folder_if_there_is_one() -> None:
    assert daemon(RIG, 26, cards=False)["data-root"] == "/data/docker"
    other = Rig(containers=Containers(), storage=Storage(folder="/big"), **BARE)
    assert docker.folder(other) == "/big/docker"
    assert docker.folder(Rig(containers=Containers(), storage=None, **BARE)) == "/var/lib/docker"


def test_the_survey_knows_our_settings_by_their_label() -> None:
    """docker.sh looks for the label and for data-root, each on a line of its own."""
    lines = json.dumps(daemon(RIG, 26, cards=False), indent=2).splitlines()
    assert f'    "{LABEL}"' in lines
    assert LABEL.startswith("deeprig=")
    assert '  "data-root": "/data/docker",' in lines


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("docker_settings=foreign", "/etc/docker/daemon.json is not deeprig's, and Docker reads"),
        ("docker_other=docker-ce", "Docker is there already, by docker-ce, which would go or"),
        ("docker_swarm=yes", "Docker is in a swarm there, and then a restart ends every container"),
        (
            "docker_keeps=/var/lib/docker 3 1 0",
            "Docker keeps 3 images and 1 container in /var/lib/docker and is to keep them in "
            "/data/docker; while no container runs, move them with",
        ),
    ],
)
def test_what_is_there_of_docker_is_refused_with_the_way_out(line: str, sentence: str) -> None:
    report = plan(RIG, [*DEBIAN_13, line])
    assert report.steps == []
    [refusal] = report.refusals
    assert refusal.startswith(sentence)
    assert "`" in refusal or "Rig(containers=None)" in refusal
    assert plan(Rig(**BARE), [*DEBIAN_13, line]).refusals == []  # the control: Docker is not ours


def test_what_is_where_it_belongs_is_welcome() -> None:
    found = read({"docker_keeps": ["/data/docker 3 1 2"]})
    assert found == Docker(folder="/data/docker", images=3, containers=1, volumes=2)
    assert objections(found, RIG, ()) == []
    assert read({}) == Docker()


def test_who_may_use_docker_must_have_an_account() -> None:
    anna = Rig(containers=Containers(user="anna"), **BARE)
    [said] = objections(Docker(), anna, users=("otto",))
    assert said.startswith("Containers.user is 'anna', and nobody has that name")
    assert objections(Docker(), anna, users=("anna",)) == []
    made = Rig(containers=anna.containers, users=(User(name="anna", keys=(KEY,)),), **BARE)
    assert objections(Docker(), made, users=()) == []
    gone = Rig(containers=anna.containers, users=(User(name="anna", present=False),), **BARE)
    assert "whom Rig.users takes away" in objections(Docker(), gone, users=("anna",))[0]


def test_the_notebooks_user_never_gets_docker() -> None:
    with pytest.raises(SettingsError, match="group docker is as good as root"):
        Rig(notebook=Notebook(user="ai"), containers=Containers(user="ai"))


def test_a_plan_says_what_docker_means() -> None:
    [said] = docker.remarks(RIG)
    assert "as good as root" in said
    assert "past ufw" in said
    assert docker.remarks(Rig(**BARE)) == []


def test_the_toolkits_repository_has_its_key_and_a_mirror_its_own_address() -> None:
    usual = container_toolkit.repository(Containers(), "x86_64")
    assert usual.uri == "https://nvidia.github.io/libnvidia-container/stable/deb/amd64/"
    assert usual.key_urls == ("https://nvidia.github.io/libnvidia-container/gpgkey",)
    assert [len(key) for key in usual.fingerprints] == [40]
    mirror = Containers(mirror="http://mirror.lan/toolkit/", repo_key="0" * 40)
    other = container_toolkit.repository(mirror, "aarch64")
    assert other.uri == "http://mirror.lan/toolkit/stable/deb/arm64/"
    assert other.repo_key == "0" * 40
    assert "https://nvidia.github.io/libnvidia-container/" in other.other_addresses


def test_updates_name_the_repository_by_origin_and_host() -> None:
    both = container_toolkit.updates("https://nvidia.github.io/libnvidia-container", "mirror.lan")
    assert '"origin=https://nvidia.github.io/libnvidia-container,site=mirror.lan";' in both
    assert '    "site=mirror.lan";' in container_toolkit.updates("$(ORIGIN)", "mirror.lan")


def test_apts_answers_are_read() -> None:
    assert container_toolkit.Candidate().process(["(none)"]) == ""
    assert container_toolkit.Candidate().process(["1.20.1-1"]) == "1.20.1-1"


def test_a_box_that_a_card_is_to_come_into_has_the_toolkit_too() -> None:
    without_driver = {name: part for name, part in BARE.items() if name != "driver"}
    rig = Rig(containers=Containers(), driver=Driver(gpus=("10de:2204",)), **without_driver)
    survey = [*DEBIAN_13, "kernel=6.12.117+deb13-amd64"]
    steps = [step.name for step in plan(rig, survey).steps]
    assert "Containers | Install the container toolkit" in steps


@pytest.mark.parametrize("by", ["deeprig", "its owner"])
def test_a_specification_of_the_cards_goes_only_where_we_wrote_it(by: str, tmp_path: Path) -> None:
    """By the commands themselves; nvidia-ctk is of this test, and the folder."""
    spec = tmp_path / "cdi/nvidia.yaml"
    ctk = tmp_path / "nvidia-ctk"
    ctk.write_text("#!/bin/sh\necho cdiVersion: 0.7.0\n")
    ctk.chmod(0o755)
    if by == "deeprig":
        run(container_toolkit.WRITE_SPEC, tmp_path)
        assert spec.read_text().endswith("\ncdiVersion: 0.7.0\n")
    else:
        spec.parent.mkdir()
        spec.write_text("cdiVersion: 0.7.0\n")
    [pattern] = [file for file in containers.FOOTPRINT.files if "nvidia.yaml" in file]
    found = run(f"printf '%s\\n' {pattern}", tmp_path).split()
    assert found == ([str(spec)] if by == "deeprig" else [])


def run(command: str, folder: Path) -> str:
    command = command.replace("/etc/cdi", f"{folder}/cdi")
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=True
    ).stdout
