"""A PCI id is looked up, never guessed."""

import itertools
import subprocess
from pathlib import Path

import pytest

from deeprig import catalog
from deeprig.catalog.gpus import identify
from deeprig.facts import gpus
from deeprig.facts.survey import read, script
from deeprig.settings import Driver, Rig
from tests.unit.recorded import DEBIAN_13, DESKTOP, UBUNTU_LIKE

# Names as lspci shows them, with the architecture that NVIDIA's own pages give the product.
KNOWN = [
    ("10de:102d", "Tesla K80", "kepler", "3.5"),
    ("10de:13f2", "Tesla M60", "maxwell", "5.2"),
    ("10de:1b06", "GeForce GTX 1080 Ti", "pascal", "6.1"),
    ("10de:15f8", "Tesla P100 PCIe 16GB", "pascal", "6.0"),
    ("10de:1db6", "Tesla V100 PCIe 32GB", "volta", "7.0"),
    ("10de:1eb8", "Tesla T4", "turing", "7.5"),
    ("10de:2183", "a card with TU116", "turing", "7.5"),
    ("10de:20b5", "A100 PCIe 80GB", "ampere", "8.0"),
    ("10de:2204", "GeForce RTX 3090", "ampere", "8.6"),
    ("10de:2684", "GeForce RTX 4090", "ada", "8.9"),
    ("10de:2330", "H100 SXM5 80GB", "hopper", "9.0"),
    ("10de:2b85", "GeForce RTX 5090", "blackwell", "12.0"),
    ("10de:3182", "B300 SXM6 AC", "blackwell", "10.3"),
    ("10de:3000", "a card with GR100, GR102", "rubin", "10.7"),
    ("10de:1002", "a card with GK110/180/210", "kepler", "3.5"),
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
    table = catalog.load("gpus")
    ranges = sorted(table["ids"]["ranges"])
    assert len(ranges) == 54
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
    graphics = read([*DEBIAN_13, *TWO_CARDS]).graphics
    assert [str(card) for card in graphics.gpus] == [
        "GeForce RTX 3090 (10de:2204)",
        "A100 PCIe 80GB (10de:20b5)",
    ]
    assert graphics.gpus[1].address == "0000:41:00.0"
    assert graphics.secure_boot
    assert graphics.loaded_driver == "535.309.01"


def test_the_newest_kernel_comes_last() -> None:
    graphics = read([*DEBIAN_13, *TWO_CARDS]).graphics
    assert graphics.kernels == ("6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-56-amd64")


def test_a_box_without_cards_has_none() -> None:
    graphics = read(DEBIAN_13).graphics
    assert (graphics.gpus, graphics.kernels, graphics.secure_boot) == ((), (), False)
    rubbish = read([*DEBIAN_13, "gpu=rubbish"])
    assert rubbish.graphics.gpus == () and "'rubbish' is no PCI device" in rubbish.strange[0]


def test_what_apt_could_give_is_part_of_the_survey() -> None:
    graphics = read([*DEBIAN_13, *UBUNTU_LIKE]).graphics
    assert graphics.offers == {
        "linux-modules-nvidia-580-server-open-generic": ("6.8.0-142.142+1",),
        "nvidia-headless-no-dkms-580-server-open": (
            "580.178.04-0ubuntu0.24.04.1",
            "580.173.02-0ubuntu0.24.04.1",
        ),
    }
    assert graphics.kernel_packages == ("linux-headers-generic", "linux-image-generic")
    assert graphics.modaliases[-1] == "10de:5950 nvidia-driver-595-server-open"
    assert graphics.fake == "test"
    assert [card.is_known for card in graphics.gpus] == [False, True]


def test_an_apt_that_nobody_asked_and_one_that_has_nothing_are_told_apart() -> None:
    assert read(DEBIAN_13).graphics.offers is None
    assert read([*DEBIAN_13, "offers=yes"]).graphics.offers == {}


def test_a_desktop_and_an_enrolled_key_are_seen() -> None:
    graphics = read([*DEBIAN_13, *UBUNTU_LIKE, *DESKTOP]).graphics
    assert (graphics.secure_boot, graphics.module_key_enrolled) == (True, True)
    assert graphics.desktop == "gdm3.service"


@pytest.mark.parametrize(
    "said",
    [
        "/var/lib/dkms/mok.pub is not enrolled",
        "EFI variables are not supported on this system",
        "sh: 1: mokutil: not found",
        "",
    ],
)
def test_a_key_that_is_not_enrolled_is_not_taken_for_one(said: str) -> None:
    lines = [*DEBIAN_13, "secure_boot=yes", f"module_key={said}"]
    assert not read(lines).graphics.module_key_enrolled


@pytest.mark.parametrize(
    ("device", "there"),
    [
        ("0000:85:00.0 10de:22a3 068000", True),
        ("0000:85:00.0 10de:22a3 030000", False),  # its number alone says nothing
        ("0000:85:00.0 10de:2204 068000", False),
    ],
)
def test_an_nvswitch_is_known_by_class_and_id(device: str, there: bool) -> None:
    assert read([*DEBIAN_13, f"gpu={device}"]).graphics.nvswitch is there


def test_the_box_is_asked_for_every_package_that_a_plan_may_take_and_only_then() -> None:
    asked = script(Rig(driver=Driver(gpus=("10de:2b99",)), cuda=None))
    offers = next(line for line in asked.splitlines() if "OFFERS=" in line)
    assert "EXPECTED=2b99 " in offers
    for name in (
        "linux-modules-nvidia-580-server-open-generic-hwe-24.04",
        "nvidia-kernel-open-dkms",
        "cuda-minimal-build-13-0",
        "libnccl2",
    ):
        assert f" {name} " in offers
    assert "debian-13=/var/lib/dkms/mok.pub" in offers
    assert "OFFERS=''" in script(Rig(driver=None, cuda=None))


@pytest.mark.parametrize(
    ("settings", "devices", "asks"),
    [
        (Rig(), "", False),
        (Rig(), "0000:01:00.0 10de:2204 030000", True),
        (Rig(driver=Driver(gpus=("10de:2b99",))), "", True),
        (Rig(driver=None), "", True),  # a toolkit goes there all the same
        (Rig(driver=None, cuda=None), "0000:01:00.0 10de:2204 030000", False),
    ],
)
def test_the_boxs_apt_is_asked_only_for_a_card(
    tmp_path: Path, settings: Rig, devices: str, asks: bool
) -> None:
    """It takes longer than most of a survey."""
    asked = script(settings)
    told = next(line for line in asked.splitlines() if "OFFERS=" in line)
    question = gpus.SCRIPT[gpus.SCRIPT.index('if [ -n "$OFFERS" ]') :]
    apt = tmp_path / "apt-cache"
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", f"{told}\ndevices='{devices}'\n{question}\ntrue"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ("offers=yes" in done.stdout) is asks, done.stderr
