"""The lab's fake cards answer in the form that the readers know from real ones."""

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

import pytest

from deeprig.errors import DeeprigError
from deeprig.facts import gpu_failures, gpus
from deeprig.parsers import kernel_modules, nvidia_smi, topology
from deeprig.parsers.nvidia_smi import FIELDS, QUERY
from lab import fake_gpu_files
from lab.fake_gpu_files import DATA, FOLDER

DRIVER = "580.178.04"
ANSWERING = {"one-3090": 1, "four-1080ti": 4, "eight-h100": 8}


def files(profile: str, **values: str) -> dict[str, str]:
    return fake_gpu_files.files(profile, driver=DRIVER, values=values)


def answers(profile: str, **values: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(profile, **values)[f"{FOLDER}/answers.json"])
    return found


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The nvidia-smi that is put on a box."""
    loader = SourceFileLoader("fake_nvidia_smi", str(DATA / "nvidia-smi"))
    spec = spec_from_loader("fake_nvidia_smi", loader)
    assert spec
    made = module_from_spec(spec)
    loader.exec_module(made)
    return made


@pytest.mark.parametrize("profile", ANSWERING)
def test_every_card_of_a_profile_is_read(program: ModuleType, profile: str) -> None:
    said = answers(profile)
    cards = nvidia_smi.cards(program.answer(list(QUERY[1:]), said), FIELDS)
    assert len(cards) == ANSWERING[profile]
    assert all(card.persistence and card.driver == DRIVER for card in cards)
    listed = files(profile)[f"{FOLDER}/cards"].splitlines()
    bus = gpus.read({"gpu": listed}).gpus
    assert [(gpu.id, gpu.address) for gpu in bus] == [(card.id, card.address) for card in cards]
    table = [gpu.compute_capability for gpu in bus]
    assert table == [card.compute_capability for card in cards]


def test_units_and_a_header_come_where_they_are_asked_for(program: ModuleType) -> None:
    asked = ["--query-gpu=index,power.limit", "--format=csv"]
    said = program.answer(asked, answers("one-3090"))
    assert said == "index, power.limit [W]\n0, 350.00 W"
    [card] = nvidia_smi.cards(said)
    assert card.power_limit == 350.0


def test_what_it_does_not_know_ends_it(program: ModuleType) -> None:
    with pytest.raises(SystemExit, match="not a valid field"):
        program.answer(["--query-gpu=colour", "--format=csv"], answers("one-3090"))
    with pytest.raises(SystemExit, match="is a fake and does not know"):
        program.answer(["dmon"], answers("one-3090"))


def test_banner_list_and_topology_are_read(program: ModuleType) -> None:
    said = answers("eight-h100")
    banner = nvidia_smi.banner(program.answer([], said))
    assert banner == nvidia_smi.Banner(driver=DRIVER, cuda="13.0")
    assert len(nvidia_smi.listed(program.answer(["-L"], said))) == 8
    found = topology.read(program.answer(["topo", "-m"], said))
    assert {link for (a, b), link in found.links.items() if a != b} == {"NV18"}


@pytest.mark.parametrize("profile", ["mismatch", "gpu-lost"])
def test_failures_are_told_as_those_of_real_boxes(profile: str) -> None:
    said = answers(profile)
    sentence = gpu_failures.failure(said["says"], said["status"])
    assert sentence
    assert "ends with" not in sentence  # the words are known


@pytest.mark.parametrize(
    ("profile", "flavour", "version"),
    [
        ("one-3090", "open", DRIVER),
        ("four-1080ti", "proprietary", DRIVER),
        ("mismatch", "open", "580.1.01"),
    ],
)
def test_the_loaded_module_is_read(profile: str, flavour: str, version: str) -> None:
    said = files(profile)[f"{FOLDER}/root/proc/driver/nvidia/version"]
    assert kernel_modules.running(said) == kernel_modules.Running(version=version, flavour=flavour)
    assert files(profile)[f"{FOLDER}/root/sys/module/nvidia/version"].strip() == version


def test_everything_put_on_a_box_says_that_it_is_a_fake() -> None:
    made = files("one-3090")
    assert "fake" in made[f"{FOLDER}/profile"]
    assert "fake" in made[fake_gpu_files.PROGRAM]


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeeprigError, match="there are: one-3090, four-1080ti"):
        files("one-voodoo")
