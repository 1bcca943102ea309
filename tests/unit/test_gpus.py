"""A PCI id is looked up, never guessed."""

import itertools

import pytest

from deeprig import data
from deeprig.gpus import identify, read
from deeprig.survey import read as read_survey
from tests.unit.recorded import DEBIAN_13

# Names as lspci shows them, with the architecture that NVIDIA's own pages give the product.
KNOWN = [
    ("10de:13f2", "Tesla M60", "maxwell", "5.2"),
    ("10de:1b06", "GeForce GTX 1080 Ti", "pascal", "6.1"),
    ("10de:15f8", "Tesla P100 PCIe 16GB", "pascal", "6.0"),
    ("10de:1db6", "Tesla V100 PCIe 32GB", "volta", "7.0"),
    ("10de:1eb8", "Tesla T4", "turing", "7.5"),
    ("10de:2182", "a card with TU116", "turing", "7.5"),
    ("10de:20b5", "A100 PCIe 80GB", "ampere", "8.0"),
    ("10de:2204", "GeForce RTX 3090", "ampere", "8.6"),
    ("10de:2684", "GeForce RTX 4090", "ada", "8.9"),
    ("10de:2330", "H100 SXM5 80GB", "hopper", "9.0"),
    ("10de:2b85", "GeForce RTX 5090", "blackwell", "12.0"),
    ("10de:3182", "B300 SXM6 AC", "blackwell", "10.3"),
    ("10de:3000", "a card with GR100, GR102", "rubin", "10.7"),
    ("10de:102d", "a card with GK110/180/210", "kepler", "3.5"),
]


@pytest.mark.parametrize(("pci_id", "name", "architecture", "capability"), KNOWN)
def test_a_card_is_known_by_its_id(
    pci_id: str, name: str, architecture: str, capability: str
) -> None:
    card = identify(pci_id)
    assert (card.name, card.architecture, card.compute_capability) == (
        name,
        architecture,
        capability,
    )


@pytest.mark.parametrize("pci_id", ["10de:ffff", "10de:0000", "1002:2204", "10de:", "", "2204"])
def test_another_id_is_said_to_be_unknown(pci_id: str) -> None:
    card = identify(pci_id)
    assert card.architecture == ""
    assert str(card) == f"unknown card ({pci_id})"


def test_no_two_ranges_overlap_and_each_has_a_known_architecture() -> None:
    table = data.load("gpus")
    ranges = sorted(table["ids"]["ranges"])
    assert len(ranges) == 50
    for (first, last, *_), (following, *_) in itertools.pairwise(ranges):
        assert first <= last < following
    assert {row[2] for row in ranges} == {row["name"] for row in table["architecture"]}
    assert all(identify(f"10de:{device}").architecture for device in table["ids"]["names"])


# What the survey printed on boxes with cards: slot, id, class.
TWO_CARDS = """\
gpu=0000:01:00.0 10de:2204 030000
gpu=0000:41:00.0 10de:20b5 030200
gpu=0000:01:00.1 10de:1aef 040300
kernel=6.1.0-9-amd64
kernel=6.1.0-56-amd64
kernel=6.1.0-10-amd64
secure_boot=yes
loaded_driver=535.309.01
""".splitlines()


def test_the_cards_of_a_box_are_its_display_and_compute_functions() -> None:
    graphics = read_survey([*DEBIAN_13, *TWO_CARDS]).graphics
    assert [str(card) for card in graphics.gpus] == [
        "GeForce RTX 3090 (10de:2204)",
        "A100 PCIe 80GB (10de:20b5)",
    ]
    assert graphics.gpus[1].address == "0000:41:00.0"
    assert graphics.secure_boot
    assert graphics.loaded_driver == "535.309.01"


def test_the_newest_kernel_comes_last() -> None:
    graphics = read_survey([*DEBIAN_13, *TWO_CARDS]).graphics
    assert graphics.kernels == ("6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-56-amd64")


def test_a_box_without_cards_has_none() -> None:
    graphics = read_survey(DEBIAN_13).graphics
    assert (graphics.gpus, graphics.kernels, graphics.secure_boot) == ((), (), False)
    assert read({"gpu": ["rubbish"]}).gpus == ()
