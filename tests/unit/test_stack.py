"""Every card on every system gets a plan with its reasons, or a refusal with a way out."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from deeprig import catalog
from deeprig.catalog import branches, tables
from deeprig.catalog.gpus import identify
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.survey import Survey
from deeprig.resolver import kernel_modules
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.request import Request
from deeprig.resolver.resolve import StackPlan, dated, decide, ended, resolve
from deeprig.settings import Cuda, Driver, Python, Rig

CARDS = {
    "fermi": "10de:06d8",
    "kepler": "10de:102d",
    "maxwell": "10de:13f2",
    "pascal": "10de:1b06",
    "volta": "10de:1db6",
    "turing": "10de:1eb8",
    "ampere": "10de:2204",
    "ada": "10de:2684",
    "hopper": "10de:2330",
    "blackwell": "10de:2b85",
    "b300": "10de:3182",
    "gb10": "10de:2e12",
    "pro4500": "10de:2c3a",  # 580 withdrew it
    "rubin": "10de:3000",
    "unknown": "10de:ffff",
}
OLD = ("maxwell", "pascal", "volta")
NEW = ("turing", "ampere", "ada", "hopper")
NEWEST = ("blackwell", "gb10")
UBUNTUS = ("ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04")
DEBIANS = ("debian-12", "debian-13")
KERNELS = ("6.1.0-56-amd64",)
ANY = Driver()
TODAY = date(2026, 11, 30)
METAPACKAGES = {"debian": ("linux-image-amd64",), "ubuntu": ("linux-image-generic",)}


def decided(
    system: str,
    *cards: str,
    driver: Driver | None = ANY,
    cuda: Cuda | None = None,
    torch: str | None = None,
    architecture: str = "amd64",
    python: str = "",
    today: date = TODAY,
    **more: Any,
) -> StackPlan | Refusal:
    """The decision for a box with these cards in it."""
    there = tuple(identify(CARDS.get(c, c), f"0000:0{n}:00.0") for n, c in enumerate(cards))
    usual = {
        "kernels": KERNELS,
        "kernel_packages": METAPACKAGES.get(system.partition("-")[0], ()),
    }
    graphics = GpuFacts(gpus=there, **(usual | more))
    return resolve(
        system, graphics, driver=driver, cuda=cuda, torch=torch, architecture=architecture,
        python=python, today=today,
    )  # fmt: skip


def planned(system: str, *cards: str, **more: Any) -> StackPlan:
    plan = decided(system, *cards, **more)
    assert isinstance(plan, StackPlan), plan
    return plan


def refused(system: str, *cards: str, **more: Any) -> Refusal:
    refusal = decided(system, *cards, **more)
    assert isinstance(refusal, Refusal), refusal
    return refusal


# system, cards -> branch, flavour, modules, CUDA, torch, backend
OF_OLD = ("580", "proprietary")
OF_NEW = ("580", "open")
OLD_TORCH, TORCH_130, TORCH = ("torch==2.14.1", "cu126"), ("torch", "cu130"), ("torch", "")
PLANS: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    *((s, (c,), (*OF_OLD, "prebuilt", "12.6", *OLD_TORCH)) for s in UBUNTUS[:2] for c in OLD),
    *((s, (c,), (*OF_NEW, "prebuilt", "13.0", *TORCH_130)) for s in UBUNTUS[:2] for c in NEW),
    *((s, (c,), (*OF_NEW, "prebuilt", "13.0", *TORCH_130)) for s in UBUNTUS[:2] for c in NEWEST),
    *((s, ("pro4500",), ("595", "open", "prebuilt", "13.2", *TORCH)) for s in UBUNTUS[:2]),
    # Eight on an HGX board: nvlsm is in NVIDIA's repository alone.
    *((s, ("b300",), (*OF_NEW, "dkms", "13.0", *TORCH_130)) for s in (*UBUNTUS[:2], "debian-12")),
    ("ubuntu-26.04", ("b300",), ("595", "open", "dkms", "13.3", *TORCH)),
    ("debian-13", ("b300",), (*OF_NEW, "dkms", "13.1", *TORCH_130)),
    *((s, ("rubin",), ("615", "open", "prebuilt", "13.4", *TORCH)) for s in UBUNTUS),
    # On no list of 580's builds.
    ("ubuntu-24.04", ("10de:31c3",), ("595", "open", "prebuilt", "13.2", *TORCH)),
    ("debian-13", ("10de:2909",), ("595", "open", "dkms", "13.2", *TORCH)),
    # NVIDIA's repository for 26.04 begins with CUDA 13.3, Debian 13's with 13.1: beyond the 13.0
    # of 580 itself, which runs every 13 all the same.
    *(("ubuntu-26.04", (c,), (*OF_OLD, "prebuilt", "none", *OLD_TORCH)) for c in OLD),
    *(("ubuntu-26.04", (c,), (*OF_NEW, "prebuilt", "13.3", *TORCH_130)) for c in (*NEW, *NEWEST)),
    ("ubuntu-26.04", ("pro4500",), ("595", "open", "prebuilt", "13.3", *TORCH)),
    *(("debian-12", (c,), (*OF_OLD, "dkms", "12.6", *OLD_TORCH)) for c in OLD),
    *(("debian-12", (c,), (*OF_NEW, "dkms", "13.0", *TORCH_130)) for c in (*NEW, "blackwell")),
    ("debian-12", ("pro4500",), ("595", "open", "dkms", "13.0", *TORCH_130)),
    ("debian-12", ("rubin",), ("620", "open", "dkms", "none", *TORCH)),
    *(("debian-13", (c,), (*OF_OLD, "dkms", "none", *OLD_TORCH)) for c in OLD),
    *(("debian-13", (c,), (*OF_NEW, "dkms", "13.1", *TORCH_130)) for c in (*NEW, "blackwell")),
    ("debian-13", ("pro4500",), ("595", "open", "dkms", "13.2", *TORCH)),
    ("debian-13", ("rubin",), ("620", "open", "dkms", "13.5", *TORCH)),
    # Mixed boxes: one kernel module for all.
    *((s, ("pascal", "ampere"), (*OF_OLD, "prebuilt", "12.6", *OLD_TORCH)) for s in UBUNTUS[:2]),
    ("debian-12", ("maxwell", "hopper"), (*OF_OLD, "dkms", "12.6", *OLD_TORCH)),
    ("ubuntu-24.04", ("turing", "blackwell"), (*OF_NEW, "prebuilt", "13.0", *TORCH_130)),
    ("ubuntu-24.04", ("ampere", "pro4500"), ("595", "open", "prebuilt", "13.2", *TORCH)),
    ("debian-13", ("ada", "rubin"), ("620", "open", "dkms", "13.5", *TORCH)),
]


@pytest.mark.parametrize(("system", "cards", "expected"), PLANS)
def test_a_card_gets_its_driver_its_modules_its_toolkit_and_its_torch(
    system: str, cards: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    plan = planned(system, *cards, cuda=Cuda())
    assert (
        plan.driver_branch, plan.module_flavour, plan.modules, plan.cuda, plan.torch,
        plan.torch_backend,
    ) == expected  # fmt: skip
    ubuntu = system.startswith("ubuntu") and cards != ("b300",)
    assert plan.driver_source == ("distro" if ubuntu else "nvidia")
    assert not any(name.startswith(("nvidia-driver-5", "xserver")) for name in plan.names())
    assert bool(plan.warnings) is (plan.cuda == "none")


def test_the_table_has_every_architecture_on_every_system() -> None:
    architectures = {row["name"] for row in catalog.load("gpus")["architecture"]}
    covered = {(system, card) for system, cards, _ in PLANS for card in cards}
    refused_here = {(s, a) for s in (*UBUNTUS, *DEBIANS) for a in ("fermi", "kepler")}
    assert {(s, a) for s in (*UBUNTUS, *DEBIANS) for a in architectures} == {
        (s, c) for s, c in covered | refused_here if c in architectures
    }


@pytest.mark.parametrize("system", [*UBUNTUS, *DEBIANS])
@pytest.mark.parametrize(("card", "last"), [("fermi", "390"), ("kepler", "470")])
def test_what_is_too_old_ends_with_its_driver_everywhere(system: str, card: str, last: str) -> None:
    refusal = refused(system, card)
    assert f"ends with driver {last}" in refusal.refusal
    assert "Rig(driver=None)" in refusal.instead
    beside = refused(system, card, "ampere")
    assert f"ends with driver {last}" in beside.refusal
    assert beside.instead == f"take {identify(CARDS[card])} out of the box."


@pytest.mark.parametrize("system", UBUNTUS)
def test_ubuntus_archive_has_615_and_nvidia_has_620(system: str) -> None:
    asked = planned(system, "ada", driver=Driver(branch="615"))
    assert (asked.driver_branch, asked.modules, asked.module_flavour) == ("615", "prebuilt", "open")
    plan = planned(system, "rubin", driver=Driver(source="nvidia"))
    assert (plan.driver_branch, plan.modules) == ("620", "dkms")


YOUNG = date(2027, 2, 1)  # the last of 90 days since 2026-11-04


@pytest.mark.parametrize("system", DEBIANS)
def test_a_new_long_term_branch_becomes_the_default_after_90_days(system: str) -> None:
    young, old = planned(system, "ada", today=YOUNG), planned(system, "ada", today=date(2027, 2, 2))
    assert (young.driver_branch, old.driver_branch) == ("580", "620")
    assert "620 is too new to be the default" in young.reasons["driver_branch"]
    assert planned(system, "volta", today=date(2027, 2, 2)).driver_branch == "580"
    mixed = planned(system, "volta", "ada", today=date(2027, 2, 2))
    assert (mixed.driver_branch, mixed.module_flavour) == ("580", "proprietary")
    asked = planned(system, "ada", driver=Driver(branch="620"))
    assert (asked.driver_branch, asked.module_flavour) == ("620", "open")


LATER = date(2027, 2, 2)


@pytest.mark.parametrize("system", DEBIANS)
def test_the_driver_that_stands_stays_the_plan_on_any_day(system: str) -> None:
    """Else verify would fail on the day, and another toolkit come beside the one that is there."""
    today = planned(system, "ada", cuda=Cuda())
    later = planned(system, "ada", cuda=Cuda(), today=LATER, standing_driver="580")
    assert (later.driver_branch, later.cuda, later.torch_cuda) == (
        "580",
        today.cuda,
        today.torch_cuda,
    )
    assert later.driver_packages == today.driver_packages
    assert later.reasons["driver_branch"] == (
        "it is installed, and drives GeForce RTX 4090 (10de:2684); a new box would get 620: "
        'Driver(branch="620") and `deeprig driver upgrade` move this one'
    )
    asked = planned(system, "ada", driver=Driver(branch="620"), standing_driver="580")
    assert asked.driver_branch == "620"
    assert planned(system, "rubin", standing_driver="580").driver_branch == "620"
    assert planned(system, "ada", standing_driver="470").driver_branch == "580"


@pytest.mark.parametrize("gpu", ["maxwell", "turing", "ada", "blackwell"])
@pytest.mark.parametrize("system", ["debian-12", "debian-13", "ubuntu-24.04", "ubuntu-26.04"])
def test_a_plan_is_the_same_once_its_driver_stands(system: str, gpu: str) -> None:
    """Its reasons stand in the manifest, which a second deploy would write again."""
    plan = planned(system, gpu, cuda=Cuda())
    assert planned(system, gpu, cuda=Cuda(), standing_driver=plan.driver_branch) == plan


def test_what_stands_goes_before_modules_that_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = catalog.load("drivers")["archive"]
    row = next(row for row in archive if row["system"] == "ubuntu-24.04")
    monkeypatch.setitem(row, "branches", ["580", "620"])
    there = planned("ubuntu-24.04", "ada", today=date(2027, 6, 1), standing_driver="580")
    assert (there.driver_branch, there.modules) == ("580", "prebuilt")


def test_one_that_stands_and_has_ended_is_warned_of_and_stays() -> None:
    plan = planned("debian-13", "ada", today=date(2027, 4, 1), standing_driver="595")
    assert plan.driver_branch == "595"
    assert "fixes for driver 595 ended" in dated(plan, date(2027, 4, 1))[0]


def test_a_branch_that_has_ended_is_the_default_only_where_nothing_else_drives_the_gpus() -> None:
    asked: dict[str, Any] = {"driver": Driver(source="nvidia")}
    assert planned("ubuntu-26.04", "ada", **asked, today=date(2027, 1, 1)).driver_branch == "595"
    assert planned("ubuntu-26.04", "ada", **asked, today=date(2027, 4, 1)).driver_branch == "620"
    assert planned("debian-12", "ada", driver=DISTRO).driver_branch == "535"
    # 615 has ended, 620 is young: of the two the one that is mended.
    assert planned("debian-13", "rubin").driver_branch == "620"


@pytest.mark.parametrize(
    ("branch", "end"),
    [("535", (2026, 6, 30)), ("580", (2028, 6, 30)), ("595", (2027, 3, 31)),
     ("610", (2026, 8, 31)), ("615", (2026, 11, 4)), ("620", (2029, 9, 30))],
)  # fmt: skip
def test_a_branch_ends_when_nvidia_says(branch: str, end: tuple[int, int, int]) -> None:
    assert branches.end(branch) == date(*end)


def test_modules_that_the_archive_has_ready_go_before_newer_ones_of_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = catalog.load("drivers")["archive"]
    row = next(row for row in archive if row["system"] == "ubuntu-24.04")
    monkeypatch.setitem(row, "branches", ["580", "620"])
    day = date(2027, 6, 1)
    assert planned("ubuntu-24.04", "ada", today=day).driver_branch == "620"
    ready = planned("ubuntu-24.04", "ada", today=day).driver_packages
    built = planned("ubuntu-24.04", "ada", today=day, kernel_packages=("linux-image-lowlatency",))
    there = {name.replace("620", "580"): ("580.178.04-0",) for name in ready}
    there |= {name: ("620.70.06-0",) for name in built.driver_packages}
    plan = planned("ubuntu-24.04", "ada", today=day, offers=there)
    assert (plan.driver_branch, plan.modules) == ("580", "prebuilt")


@pytest.mark.parametrize(
    ("system", "card", "driver", "cuda"),
    [
        ("ubuntu-24.04", "ada", Driver(), "13.2"),
        ("ubuntu-24.04", "ada", Driver(branch="535"), "12.9"),
        ("ubuntu-24.04", "volta", Driver(branch="535"), "12.6"),
        ("ubuntu-26.04", "turing", Driver(), "13.5"),
        ("debian-13", "blackwell", Driver(), "13.5"),
    ],
)
def test_a_driver_runs_every_toolkit_of_its_cudas_major_and_says_what_is_lost(
    system: str, card: str, driver: Driver, cuda: str
) -> None:
    plan = planned(system, card, driver=driver, cuda=Cuda(version=cuda))
    assert plan.cuda == cuda
    [note] = plan.notes
    assert f"CUDA {cuda} is newer than driver {plan.driver_branch}'s own" in note
    assert "-arch=native" in note and "error 222" in note
    covered = planned("ubuntu-24.04", "ada", cuda=Cuda(version="12.9"))
    assert (covered.cuda, covered.notes) == ("12.9", ())


def test_the_note_names_the_long_term_branch_that_has_the_toolkit_itself() -> None:
    [note] = planned("debian-13", "ada", cuda=Cuda(version="13.3")).notes
    assert note.endswith('; Driver(branch="620") has 13.5 itself.')
    asked = Driver(branch="620")
    assert planned("debian-13", "ada", driver=asked, cuda=Cuda(version="13.3")).notes == ()


def test_the_drivers_cuda_torchs_and_the_toolkit_are_three_figures() -> None:
    plan = planned("ubuntu-26.04", "ada", cuda=Cuda())
    assert (branches.cuda(plan.driver_branch), plan.torch_cuda, plan.cuda) == (
        "13.0", "13.0", "13.3",
    )  # fmt: skip
    assert "the driver's own is 13.0" in plan.reasons["cuda"]


@pytest.mark.parametrize(
    ("system", "cards", "without"),
    [
        ("debian-12", ["2783", "2705", "2702", "25b2", "25b0", "28b0", "2335", "233b", "2348"],
         "535"),
        ("debian-13", ["233b", "2348"], "550"),
    ],
)  # fmt: skip
def test_an_archives_driver_that_does_not_list_a_gpu_is_refused(
    system: str, cards: list[str], without: str
) -> None:
    for card in cards:
        refusal = refused(system, f"10de:{card}", driver=DISTRO)
        assert f"is not on the list of driver {without}" in refusal.refusal
        assert refusal.instead == 'Driver(source="nvidia").'
        assert planned(system, f"10de:{card}", driver=NVIDIA).driver_branch == "580"
    assert planned(system, "ada", driver=DISTRO).driver_branch == without


@pytest.mark.parametrize("card", ["2b00", "29bb"])
def test_a_jetson_is_another_product(card: str) -> None:
    refusal = refused("ubuntu-24.04", f"10de:{card}", architecture="arm64")
    assert "is part of a" in refusal.refusal
    assert refusal.instead.startswith("NVIDIA's ")


@pytest.mark.parametrize("card", ["2901", "3182"])
@pytest.mark.parametrize("system", [*UBUNTUS, *DEBIANS])
def test_an_hgx_board_of_nvlink_5_gets_nvlsm_beside_the_fabric_manager(
    system: str, card: str
) -> None:
    plan = planned(system, f"10de:{card}")
    assert {"nvidia-fabricmanager", "nvlsm"} <= set(plan.driver_packages)
    [note] = plan.notes
    assert "nvlsm" in note and "not known" in note
    assert "nvlsm is there alone" in plan.reasons["driver_source"]
    refusal = refused(system, f"10de:{card}", driver=DISTRO)
    assert refusal.instead == 'Driver(source="nvidia").'
    assert not any("nvlsm" in name for name in planned(system, "hopper", nvswitch=True).packages)


def test_a_gpu_of_a_rack_is_told_what_is_left_to_others() -> None:
    for card in ("2941", "31c2", "31c3"):
        plan = planned("ubuntu-24.04", *[f"10de:{card}"] * 4, architecture="arm64")
        [warning] = plan.warnings
        assert "NVSwitches are in the rack's own trays" in warning and "nvidia-imex" in warning


def test_a_dgx_spark_keeps_its_own_driver_but_where_the_archive_drives_it() -> None:
    archive = planned("ubuntu-24.04", "gb10", architecture="arm64")
    assert archive.driver_branch == "580"
    [note] = archive.notes
    assert "DGX Spark" in note and "Rig(driver=None)" in note
    own = planned("debian-13", "gb10", architecture="arm64")
    assert own.driver_packages == () and "DGX Spark" in own.reasons["driver_branch"]
    asked = planned("debian-13", "gb10", architecture="arm64", driver=Driver(branch="595"))
    assert asked.driver_branch == "595"


@pytest.mark.parametrize(
    ("card", "architecture", "torch"),
    [
        ("10de:1eb4", "amd64", True), ("10de:1eb4", "arm64", False),  # T4G
        ("volta", "amd64", True), ("volta", "arm64", False),
        ("pascal", "arm64", False), ("turing", "arm64", False),
        ("ampere", "arm64", True), ("ada", "arm64", True), ("hopper", "arm64", True),
        ("blackwell", "arm64", True), ("gb10", "arm64", True), ("10de:2b00", "arm64", True),
        ("10de:2b00", "amd64", False),
    ],
)  # fmt: skip
def test_torchs_kernels_are_those_of_the_wheels_for_the_processor(
    card: str, architecture: str, torch: bool
) -> None:
    plan = planned("ubuntu-24.04", card, driver=None, architecture=architecture)
    assert (plan.torch_cuda != "none") is torch
    assert ("no torch has kernels" in plan.reasons["torch"]) is not torch
    assert architecture == "amd64" or torch or "on arm64" in plan.reasons["torch"]


@pytest.mark.parametrize(
    ("asked", "requirement"),
    [
        ("2.15.0", "torch==2.15.0"), ("2.15", "torch==2.15.*"), ("2.14.0", "torch==2.14.0"),
        ("2.14.1", "torch==2.14.1"), ("2.13.0", "torch==2.13.0"), ("2.12.1", "torch==2.12.1"),
    ],
)  # fmt: skip
def test_a_version_of_torch_that_the_index_has_is_taken_by_its_number(
    asked: str, requirement: str
) -> None:
    assert planned("ubuntu-24.04", "ada", torch=asked).torch == requirement
    for unknown in ("2.14.7", "2.16.0", "2.15.0.1"):
        assert "deeprig knows 2.15" in refused("ubuntu-24.04", "ada", torch=unknown).refusal


@pytest.mark.parametrize(
    ("system", "flavour", "architecture"),
    [
        ("ubuntu-22.04", "generic-6.8", "amd64"), ("ubuntu-22.04", "nvidia", "amd64"),
        ("ubuntu-24.04", "generic-6.8", "amd64"), ("ubuntu-24.04", "ibm", "amd64"),
        ("ubuntu-24.04", "oem-24.04", "amd64"), ("ubuntu-24.04", "generic-64k", "arm64"),
        ("ubuntu-24.04", "nvidia-64k-hwe-24.04", "arm64"), ("ubuntu-26.04", "generic-7.0", "amd64"),
        ("ubuntu-22.04", "azure-fde", "amd64"),
    ],
)  # fmt: skip
def test_a_kernel_that_ubuntu_signs_modules_for_gets_them(
    system: str, flavour: str, architecture: str
) -> None:
    there = {"kernel_packages": (f"linux-image-{flavour}",), "secure_boot": True}
    plan = planned(system, "ada", architecture=architecture, **there)
    assert plan.modules == "prebuilt"
    assert f"linux-modules-nvidia-580-server-open-{flavour}" in plan.driver_packages


def test_nvidias_fabric_manager_for_ubuntu_has_no_branch_in_its_name_from_580_on() -> None:
    for branch, name in (("570", "nvidia-fabricmanager-570"), ("580", "nvidia-fabricmanager")):
        asked = Driver(source="nvidia", branch=branch)
        plan = planned("ubuntu-24.04", "hopper", driver=asked, nvswitch=True)
        assert name in plan.driver_packages


# The archives of Debian itself.
@pytest.mark.parametrize(
    ("system", "cards", "branch", "flavour"),
    [
        *(("debian-12", (c,), "535", "proprietary") for c in (*OLD, *NEW)),
        *(("debian-13", (c,), "550", "proprietary") for c in OLD),
        *(("debian-13", (c,), "550", "open") for c in NEW),
        ("debian-13", ("pascal", "ampere"), "550", "proprietary"),
    ],
)
def test_debians_own_driver_is_an_explicit_choice(
    system: str, cards: tuple[str, ...], branch: str, flavour: str
) -> None:
    plan = planned(system, *cards, driver=Driver(source="distro"))
    assert (plan.driver_branch, plan.module_flavour) == (branch, flavour)
    assert (plan.torch, plan.torch_backend) == OLD_TORCH
    assert plan.headers == ("linux-headers-amd64",)
    assert "Driver.source" in plan.reasons["driver_source"]
    assert (plan.pin, plan.repository) == ("", "")


DISTRO, NVIDIA = Driver(source="distro"), Driver(source="nvidia")
# name, system, cards, settings, what is so, what would work
REFUSALS: dict[str, tuple[str, tuple[str, ...], dict[str, Any], str, str]] = {
    "Blackwell and Debian's 550": (
        "debian-13", ("blackwell",), {"driver": DISTRO},
        "GeForce RTX 5090 (10de:2b85) needs driver 570 or newer", 'Driver(source="nvidia")',
    ),
    "Blackwell and Debian's 535": (
        "debian-12", ("ampere", "blackwell"), {"driver": DISTRO},
        "GeForce RTX 5090 (10de:2b85) needs driver 570 or newer", 'Driver(source="nvidia")',
    ),
    "Pascal together with Blackwell": (
        "ubuntu-24.04", ("pascal", "blackwell"), {},
        "a box loads one of them", "take GeForce GTX 1080 Ti",
    ),
    "Kepler together with Rubin": (
        "debian-13", ("kepler", "rubin"), {}, "Tesla K80 (10de:102d) ends with driver 470",
        "take Tesla K80 (10de:102d) out",
    ),
    "Pascal and 590": (
        "ubuntu-24.04", ("pascal",), {"driver": Driver(source="nvidia", branch="590")},
        "ends with driver 580, and Driver.branch is '590'", 'Driver(branch="580")',
    ),
    "Pascal and 595 of the archive": (
        "ubuntu-24.04", ("pascal",), {"driver": Driver(branch="595")},
        "ends with driver 580, and Driver.branch is '595'", 'Driver(branch="580")',
    ),
    "a newer card and 580": (
        "debian-13", ("pro4500",), {"driver": Driver(branch="580")},
        "needs driver 595 or newer, and Driver.branch is '580'", 'Driver(branch="595")',
    ),
    "Volta and open": (
        "debian-13", ("volta",), {"driver": Driver(flavour="open")},
        "Driver.flavour is 'open', which Tesla V100", 'Driver(flavour="proprietary")',
    ),
    "Blackwell and proprietary": (
        "ubuntu-24.04", ("blackwell",), {"driver": Driver(flavour="proprietary")},
        "Driver.flavour is 'proprietary', which GeForce RTX 5090", 'Driver(flavour="open")',
    ),
    "615 and proprietary": (
        "debian-13", ("ampere",), {"driver": Driver(branch="615", flavour="proprietary")},
        "has no proprietary modules of driver 615", 'Driver(branch="615", flavour="open")',
    ),
    "open of Debian 12": (
        "debian-12", ("ampere",), {"driver": Driver(source="distro", flavour="open")},
        "Debian 12's archive has no open modules", 'Driver(flavour="proprietary")',
    ),
    "a branch that nobody has": (
        "ubuntu-26.04", ("ampere",), {"driver": Driver(branch="570")},
        "Driver.branch is '570', and Ubuntu 26.04's archive has 580, 595 and 615",
        'Driver(branch="580")',
    ),
    "580 of NVIDIA on 26.04": (
        "ubuntu-26.04", ("pascal",), {"driver": NVIDIA},
        "ends with driver 580, and NVIDIA's repository for Ubuntu 26.04 has 595, 610, 615 and 620",
        'Driver(source="distro")',
    ),
    "an unknown card on Debian": (
        "debian-13", ("unknown",), {}, "10de:ffff is in no table", "name both",
    ),
    "an unknown card that the archive does not name": (
        "ubuntu-24.04", ("ampere", "unknown"), {},
        "no package of the archive names it", "name both",
    ),
    "an unknown card with only a branch": (
        "debian-13", ("unknown",), {"driver": Driver(branch="580")},
        "10de:ffff is in no table", "name both",
    ),
    "Secure Boot and DKMS without a key": (
        "debian-13", ("ampere",), {"secure_boot": True},
        "Secure Boot is on", "turn Secure Boot off",
    ),
    "Secure Boot and NVIDIA's modules on Ubuntu": (
        "ubuntu-24.04", ("ampere",), {"driver": NVIDIA, "secure_boot": True},
        "Secure Boot is on", 'Driver(source="distro")',
    ),
    "Secure Boot and a kernel without signed modules": (
        "ubuntu-24.04", ("ampere",),
        {"secure_boot": True, "kernel_packages": ("linux-image-lowlatency",)},
        "Secure Boot is on", "linux-image-generic",
    ),
    "no kernel of its own": (
        "debian-12", ("ampere",), {"kernels": ()}, "No kernel is installed", "linux-image-amd64",
    ),
    "a desktop": (
        "ubuntu-24.04", ("ampere",), {"desktop": "gdm.service"},
        "The box has a desktop (gdm.service)", 'Driver(desktop="keep")',
    ),
    "NVSwitch and Debian's archive": (
        "debian-13", ("hopper",), {"driver": DISTRO, "nvswitch": True},
        "has no fabric manager", 'Driver(source="nvidia")',
    ),
    "CUDA 13 on Pascal": (
        "ubuntu-24.04", ("pascal",), {"cuda": Cuda(version="13.0")},
        "CUDA 13.0 does not compile for GeForce GTX 1080 Ti (10de:1b06), whose CUDA ends with 12.9",
        'Cuda(version="12.9")',
    ),
    "a toolkit above the driver's CUDA": (
        "ubuntu-24.04", ("ampere",), {"driver": Driver(branch="535"), "cuda": Cuda(version="13.0")},
        "driver 535 runs CUDA 12 and older, and CUDA 13.0 is newer", 'Cuda(version="12.6")',
    ),
    "a newer toolkit than the repository has": (
        "debian-12", ("ampere",), {"cuda": Cuda(version="13.2")},
        "deeprig knows CUDA 12.3, 12.4, 12.5, 12.6, 12.8, 12.9 and 13.0 in NVIDIA's repository",
        'Cuda(version="13.0")',
    ),
    "a toolkit below the card's first": (
        "ubuntu-24.04", ("blackwell",), {"cuda": Cuda(version="12.6")},
        "begins with 12.8", 'Cuda(version="13.0")',
    ),
    "a toolkit that the repository has not": (
        "debian-13", ("rubin",), {"cuda": Cuda(version="13.0")},
        "Cuda.version is '13.0', and deeprig knows CUDA 13.1, 13.2, 13.3, 13.4 and 13.5 in",
        'Cuda(version="13.5")',
    ),
    "Debian's toolkit on a Blackwell": (
        "debian-13", ("blackwell",), {"driver": None, "cuda": Cuda(source="distro")},
        "begins with 12.8", "NVIDIA's repository",
    ),
    "another version of Debian's toolkit": (
        "debian-13", ("ampere",), {"cuda": Cuda(source="distro", version="12.6")},
        "Debian 13's archive has 12.4", "Cuda(version=None)",
    ),
    "Ubuntu's toolkit": (
        "ubuntu-24.04", ("ampere",), {"cuda": Cuda(source="distro")},
        "deeprig knows no CUDA in Ubuntu 24.04's archive", "Cuda()",
    ),
    "a torch without kernels for the card": (
        "ubuntu-24.04", ("pascal",), {"torch": "2.15"},
        "torch 2.15 has no kernels for GeForce GTX 1080 Ti", 'Python(torch="2.14")',
    ),
    "a torch for a newer driver": (
        "debian-13", ("ampere",), {"driver": DISTRO, "torch": "2.15"},
        "torch 2.15 needs a driver from 580 on, and this one is 550", 'Python(torch="2.14")',
    ),
    "a torch that nobody knows": (
        "ubuntu-24.04", ("ampere",), {"torch": "1.3"},
        "Python.torch is '1.3', and deeprig knows 2.15", 'Python(torch="2.15")',
    ),
    "a system that nobody knows": (
        "fedora-44", ("ampere",), {},
        "deeprig knows no driver in NVIDIA's repository for Fedora 44", "Rig(driver=None)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_work_is_refused_with_the_nearest_thing_that_would(case: str) -> None:
    system, cards, more, sentence, instead = REFUSALS[case]
    refusal = refused(system, *cards, **more)
    assert sentence in refusal.refusal
    assert instead in refusal.instead
    assert refusal.refusal.endswith(".") and refusal.instead.endswith(".")


@pytest.fixture
def without_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's repository for Debian 12 as if it had no folder for arm64."""
    monkeypatch.delitem(catalog.load("repositories")["repository"][3]["architectures"], "arm64")


def test_a_plan_takes_the_repositorys_folder_for_the_boxs_processor() -> None:
    plan = planned("debian-12", "ampere", cuda=Cuda())
    assert plan.repository_folder == "debian12/x86_64"
    plan = planned("debian-12", "ampere", cuda=Cuda(), architecture="arm64")
    assert (plan.repository, plan.repository_folder) == ("debian12", "debian12/sbsa")
    toolkit = planned("ubuntu-24.04", "ampere", cuda=Cuda(), architecture="arm64")
    assert (toolkit.driver_source, toolkit.repository_folder) == ("distro", "ubuntu2404/sbsa")
    assert planned("debian-12", "ampere", driver=DISTRO).repository_folder == ""


def test_the_surveys_processor_is_the_one_that_is_planned_for() -> None:
    for machine, folder in (("x86_64", "debian13/x86_64"), ("aarch64", "debian13/sbsa")):
        box = Survey(system="debian", version="13", architecture=machine, graphics=GpuFacts())
        plan = decide(box, Rig(driver=Driver(gpus=(CARDS["ampere"],)), cuda=None))
        assert isinstance(plan, StackPlan) and plan.repository_folder == folder


@pytest.mark.usefixtures("without_arm64")
def test_a_repository_without_a_folder_for_the_processor_is_not_planned_from() -> None:
    refusal = refused("debian-12", "ampere", architecture="arm64")
    assert refusal.refusal == (
        "deeprig knows no driver in NVIDIA's repository for Debian 12 on arm64."
    )
    assert refusal.instead == 'Driver(source="distro").'
    asked = {"driver": DISTRO, "cuda": Cuda(version="12.9"), "architecture": "arm64"}
    refusal = refused("debian-12", "ampere", **asked)
    assert refusal.refusal == (
        "NVIDIA has no repository that deeprig knows for Debian 12 on arm64."
    )
    assert refusal.instead.startswith("Rig(cuda=None)")
    plan = planned("debian-12", "ampere", driver=DISTRO, cuda=Cuda(), architecture="arm64")
    assert (plan.cuda_packages, plan.repository_folder) == ((), "")
    assert planned("debian-12", "ampere").repository_folder == "debian12/x86_64"


NEAREST: dict[str, dict[str, Any]] = {
    "Pascal and 590": {"driver": Driver(source="nvidia", branch="580")},
    "Blackwell and Debian's 550": {"driver": NVIDIA},
    "Volta and open": {"driver": Driver(flavour="proprietary")},
    "615 and proprietary": {"driver": Driver(branch="615", flavour="open")},
    "580 of NVIDIA on 26.04": {"driver": DISTRO},
    "CUDA 13 on Pascal": {"cuda": Cuda(version="12.9")},
    "a toolkit above the driver's CUDA": {
        "driver": Driver(branch="535"),
        "cuda": Cuda(version="12.9"),
    },
    "a torch without kernels for the card": {"torch": "2.14"},
    "a desktop": {"driver": Driver(desktop="keep"), "desktop": "gdm.service"},
}


@pytest.mark.parametrize("case", NEAREST)
def test_what_is_named_instead_does_work(case: str) -> None:
    system, cards, _, _, _ = REFUSALS[case]
    assert planned(system, *cards, **NEAREST[case]).driver_packages


def test_an_explicit_branch_and_flavour_turn_an_unknown_card_into_a_warning() -> None:
    plan = planned("debian-13", "unknown", driver=Driver(branch="580", flavour="open"))
    assert (plan.driver_branch, plan.module_flavour) == ("580", "open")
    [warning] = plan.warnings
    assert "10de:ffff" in warning


@pytest.mark.parametrize(
    ("system", "driver", "cards", "example"),
    [
        ("debian-12", DISTRO, ("unknown",), 'Driver(branch="535", flavour="proprietary")'),
        ("debian-13", DISTRO, ("unknown",), 'Driver(branch="550", flavour="open")'),
        ("debian-13", NVIDIA, ("unknown",), 'Driver(branch="580", flavour="open")'),
        ("debian-13", NVIDIA, ("unknown", "pascal"), 'Driver(branch="580", flavour="proprietary")'),
        ("debian-12", DISTRO, ("unknown", "blackwell"), ""),
    ],
)
def test_the_example_for_an_unknown_card_is_one_that_its_source_has(
    system: str, driver: Driver, cards: tuple[str, ...], example: str
) -> None:
    refusal = refused(system, *cards, driver=driver)
    assert ("name both, such as" in refusal.instead) is bool(example)
    assert example in refusal.instead
    if example:
        asked = eval(example, {"Driver": Driver})
        assert planned(
            system, *cards, driver=replace(driver, **vars(asked) | {"source": driver.source})
        )


def test_on_ubuntu_the_archives_own_packages_say_what_an_unknown_card_needs() -> None:
    named = ("10de:ffff nvidia-driver-595-server-open", "10de:2204 nvidia-driver-580-server")
    plan = planned("ubuntu-24.04", "unknown", modaliases=named)
    assert (plan.driver_branch, plan.module_flavour) == ("595", "open")
    assert "name the card" in plan.reasons["module_flavour"]
    assert "packages name unknown card (10de:ffff)" in plan.reasons["driver_branch"]
    assert plan.warnings


def test_secure_boot_is_fine_with_signed_modules_or_with_an_enrolled_key() -> None:
    assert planned("ubuntu-24.04", "ampere", secure_boot=True).modules == "prebuilt"
    enrolled = planned("debian-13", "ampere", secure_boot=True, module_key_enrolled=True)
    assert enrolled.modules == "dkms"


def test_the_archives_driver_is_kept_from_nvidias_repository() -> None:
    plan = planned("ubuntu-24.04", "ampere", cuda=Cuda())
    assert (plan.driver_source, plan.cuda_source, plan.repository) == (
        "distro", "nvidia", "ubuntu2404",
    )  # fmt: skip
    assert {"nvidia-*", "libnvidia-*", "cuda-drivers*"} <= set(plan.shut_out)
    assert planned("debian-13", "ampere", cuda=Cuda()).shut_out == ()  # the driver is NVIDIA's


def test_prebuilt_modules_bind_the_kernels_metapackages() -> None:
    there = ("linux-generic", "linux-image-generic", "linux-headers-generic", "linux-firmware")
    plan = planned("ubuntu-24.04", "ampere", kernel_packages=there)
    assert plan.kernel_metapackages == there[:3]
    assert plan.headers == ()
    assert "linux-modules-nvidia-580-server-open-generic" in plan.driver_packages
    assert planned("debian-13", "ampere").kernel_metapackages == ()


def test_a_kernel_without_ready_modules_gets_dkms_and_its_own_headers() -> None:
    plan = planned("ubuntu-24.04", "ampere", kernel_packages=("linux-image-lowlatency",))
    assert plan.modules == "dkms"
    assert plan.headers == ("linux-headers-lowlatency",)
    assert plan.driver_packages[0] == "nvidia-dkms-580-server-open"


@pytest.mark.parametrize(
    ("system", "branch", "first", "pin"),
    [
        ("ubuntu-24.04", "580", "nvidia-dkms-580-open", "nvidia-driver-pinning-580"),
        ("ubuntu-24.04", "595", "nvidia-dkms-open", "nvidia-driver-pinning-595"),
        ("ubuntu-24.04", "590", "nvidia-dkms-open", ""),
        ("debian-13", "580", "nvidia-kernel-open-dkms", "nvidia-driver-pinning-580"),
        ("debian-13", "590", "nvidia-kernel-open-dkms", ""),
    ],
)
def test_nvidias_packages_are_called_and_pinned_by_system_and_branch(
    system: str, branch: str, first: str, pin: str
) -> None:
    plan = planned(system, "ampere", driver=Driver(source="nvidia", branch=branch))
    assert (plan.driver_packages[0], plan.pin) == (first, pin)
    own = [version for names, version in plan.pins if "libnvidia-*" in names]
    assert own == ([] if pin else [f"{branch}.*"])


def test_a_desktop_keeps_the_full_driver_or_is_switched_off() -> None:
    kept = planned("ubuntu-24.04", "ampere", desktop="gdm.service", driver=Driver(desktop="keep"))
    assert kept.driver_packages[0] == "nvidia-driver-580-server-open"
    off = planned("ubuntu-24.04", "ampere", desktop="gdm.service", driver=Driver(desktop="off"))
    assert off.driver_packages[0] == "nvidia-headless-no-dkms-580-server-open"


def test_a_fabric_manager_comes_only_with_an_nvswitch() -> None:
    plan = planned("ubuntu-24.04", "hopper", nvswitch=True)
    assert {"nvidia-fabricmanager-580", "libnvidia-nscq-580"} <= set(plan.driver_packages)
    assert not any("fabric" in name for name in planned("ubuntu-24.04", "hopper").packages)


def test_a_container_is_told_why_no_card_is_looked_for() -> None:
    # An LXC container of Proxmox with the card: "there is no NVIDIA card in the box" was no reason.
    box = Survey(system="debian", version="13", architecture="x86_64", container=True)
    plan = decide(box, Rig())
    assert isinstance(plan, StackPlan) and plan.packages == ()
    assert "its host's driver" in plan.reasons["driver_branch"]
    assert "its host's driver" in plan.reasons["cuda"]
    alone = decide(box, Rig(driver=None, cuda=None))
    assert isinstance(alone, StackPlan) and "Rig.driver is None" in alone.reasons["driver_branch"]


def test_without_a_card_there_is_nothing_and_it_says_so() -> None:
    plan = planned("debian-12", cuda=Cuda())
    assert plan.packages == () and plan.repository == ""
    assert "no NVIDIA card" in plan.reasons["driver_branch"]
    assert "no NVIDIA card" in plan.reasons["cuda"]
    assert (plan.torch, plan.torch_backend) == TORCH


def test_a_card_that_is_to_come_is_prepared_for() -> None:
    plan = planned("debian-12", driver=Driver(gpus=("10de:2204",)))
    assert plan.driver_branch == "580"
    assert "GeForce RTX 3090" in plan.reasons["driver_branch"]
    assert refused("debian-12", driver=Driver(gpus=("10de:1b06", "10de:2b85")))


@pytest.mark.parametrize(
    ("loaded", "cards", "torch", "jax"),
    [
        ("550.163.01", ("ampere",), OLD_TORCH, "jax[cuda12]"),
        ("580.178.04", ("ampere",), TORCH_130, "jax[cuda13]"),
        ("595.71.05", ("ampere",), TORCH, "jax[cuda13]"),
        ("580.178.04", ("pascal",), OLD_TORCH, "jax[cuda12]"),
        ("580.178.04", ("pascal", "ampere"), OLD_TORCH, "jax[cuda12]"),
        ("570.172.08", ("blackwell",), ("torch==2.11.*", "cu128"), "jax[cuda12]"),
        ("615.71.09", ("rubin",), TORCH, "jax[cuda13]"),
        ("", ("ampere",), TORCH, "jax[cuda13]"),
        ("580.178.04", ("kepler",), TORCH, "jax"),
        ("strange", ("unknown",), TORCH, "jax"),
    ],
)
def test_torch_and_jax_fit_a_driver_that_somebody_else_installed(
    loaded: str, cards: tuple[str, ...], torch: tuple[str, str], jax: str
) -> None:
    plan = planned("ubuntu-24.04", *cards, driver=None, loaded_driver=loaded)
    assert ((plan.torch, plan.torch_backend), plan.jax) == (torch, jax)
    assert plan.reasons["torch"]


@pytest.mark.parametrize(
    ("python", "jax", "torch"),
    [("3.10", "jax[cuda12]", "torch==2.14.1"), ("3.11", "jax[cuda13]", "torch"),
     ("3.14", "jax[cuda13]", "torch"), ("", "jax[cuda13]", "torch")],
)  # fmt: skip
def test_a_python_without_wheels_of_the_newest_gets_what_has_them(
    python: str, jax: str, torch: str
) -> None:
    """uv takes JAX 0.6.2 for Python 3.10, which has no cuda13: it would run on the CPU alone."""
    plan = planned("ubuntu-22.04", "ampere", python=python)
    assert (plan.jax, plan.torch) == (jax, torch)
    assert ("newer ones need Python 3.11, and this is 3.10" in plan.reasons["torch"]) == (
        python == "3.10"
    )


def test_a_torch_that_the_python_has_no_wheels_of_is_refused() -> None:
    refusal = refused("ubuntu-22.04", "ampere", python="3.10", torch="2.15")
    assert refusal.refusal == "torch 2.15 needs Python 3.11, and Python.python is 3.10."
    assert refusal.instead == 'Python(torch="2.14").'
    assert planned("ubuntu-22.04", "ampere", python="3.10", torch="2.14").torch == "torch==2.14.1"


@pytest.mark.parametrize(
    ("version", "python", "jax"),
    [("22.04", "system", "jax[cuda12]"), ("24.04", "system", "jax[cuda13]"),
     ("22.04", "3.12", "jax[cuda13]")],
)  # fmt: skip
def test_the_systems_own_python_counts(version: str, python: str, jax: str) -> None:
    cards = (identify(CARDS["ampere"], "0000:01:00.0"),)
    survey = Survey(
        system="ubuntu", version=version, architecture="x86_64",
        graphics=GpuFacts(gpus=cards, kernels=KERNELS, kernel_packages=METAPACKAGES["ubuntu"]),
    )  # fmt: skip
    plan = decide(survey, Rig(python=Python(python=python)))
    assert isinstance(plan, StackPlan)
    assert plan.jax == jax


def test_a_torch_that_is_asked_for_is_bound_to_its_release() -> None:
    assert planned("ubuntu-24.04", "ampere", torch="2.13").torch == "torch==2.13.*"
    assert planned("ubuntu-24.04", "ampere", torch="2.14.1").torch_backend == "cu130"


def test_no_torch_has_kernels_for_a_kepler_and_it_says_so() -> None:
    assert "on the CPU" in planned("debian-12", "kepler", driver=None).reasons["torch"]


@pytest.mark.parametrize(
    ("system", "cuda", "nccl"), [("debian-12", "11.8", "none"), ("debian-13", "12.4", "2.22.3")]
)
@pytest.mark.parametrize("cards", [(), ("ampere",), ("pascal",), ("hopper",)])
def test_debians_cuda_with_or_without_a_card(
    system: str, cuda: str, nccl: str, cards: tuple[str, ...]
) -> None:
    asked = Cuda(source="distro")
    driver = DISTRO if cards else None
    plan = planned(system, *cards, cuda=asked, driver=driver)
    assert (plan.cuda, plan.nccl, plan.cudnn, plan.cuda_source) == (cuda, nccl, "none", "distro")
    assert "nvidia-cuda-toolkit" in plan.packages


@pytest.mark.parametrize(
    ("parts", "first"),
    [("build", "cuda-minimal-build-13-0"), ("full", "cuda-toolkit-13-0"), ("none", "libcudnn9")],
)
def test_the_parts_of_a_toolkit(parts: Any, first: str) -> None:
    plan = planned("ubuntu-24.04", "ampere", cuda=Cuda(parts=parts))
    assert plan.cuda_packages[0].startswith(first)
    assert plan.cuda == ("none" if parts == "none" else "13.0")
    assert "libnccl2=2.*+cuda13.0" in plan.cuda_packages


def test_old_cards_get_the_last_cudnn_with_kernels_for_them_and_keep_it() -> None:
    plan = planned("ubuntu-24.04", "volta", cuda=Cuda())
    assert plan.cudnn == "9.10.2.21"
    assert "libcudnn9-cuda-12=9.10.2.21-1" in plan.cuda_packages
    assert any("libcudnn9-cuda-12" in names for names, _ in plan.pins)


OFFERS = {"linux-modules-nvidia-580-server-open-generic": ("6.8.0-142.142",)}


def test_the_index_only_takes_away_from_the_tables() -> None:
    without = planned("ubuntu-24.04", "ampere", offers=None)
    elsewhere = planned("ubuntu-24.04", "ampere", offers={"hello": ("2.10",)})
    assert without == elsewhere  # an index without a word of the source does not count
    names = without.driver_packages
    there = {name: ("580.173.02-0ubuntu0.24.04.1",) for name in names}
    assert planned("ubuntu-24.04", "ampere", offers=there) == without
    assert refused("ubuntu-24.04", "ampere", offers=OFFERS)
    but_one = {name: versions for name, versions in there.items() if name != names[-1]}
    assert refused("ubuntu-24.04", "ampere", offers=but_one)
    newer = {name.replace("580", "595"): ("595.71.05-0ubuntu0.24.04.1",) for name in names}
    assert planned("ubuntu-24.04", "ampere", offers=newer).driver_branch == "595"


def test_nccl_comes_in_a_build_that_the_index_has() -> None:
    names = planned("ubuntu-24.04", "ampere", cuda=Cuda(version="12.8")).names()
    there = {name: ("1",) for name in names} | {"libnccl2": ("2.30.4-1+cuda12.9",)}
    there |= {"libnccl-dev": ("2.30.4-1+cuda12.9",), "cuda-toolkit-12-8": ("12.8.1-1",)}
    plan = planned("ubuntu-24.04", "ampere", driver=None, cuda=Cuda(version="12.8"), offers=there)
    assert plan.nccl == planned("ubuntu-24.04", "ampere", cuda=Cuda(version="12.8")).nccl
    assert plan.nccl == "2.*+cuda12.[869]"  # 12.9's fits, though it is not the first choice
    there |= {"libnccl2": ("2.30.4-1+cuda13.0",)}
    plan = planned("ubuntu-24.04", "ampere", driver=None, cuda=Cuda(version="12.8"), offers=there)
    assert plan.nccl == "none"


NEW_SERVER = {
    name.format("640"): ("640.20.01-0ubuntu0.24.04.1",)
    for name in (
        "nvidia-headless-no-dkms-{}-server-open", "linux-modules-nvidia-{}-server-open-generic",
        "nvidia-utils-{}-server", "nvidia-compute-utils-{}-server",
    )
}  # fmt: skip


def test_a_branch_that_no_table_knows_is_said_and_taken_where_its_package_names_the_gpu() -> None:
    usual = planned("ubuntu-24.04", "ada")
    there = {name: ("580.178.04-0",) for name in usual.driver_packages} | NEW_SERVER
    said = "The box's apt offers driver 640, which deeprig's tables of 2026-11-30 do not know."
    plan = planned("ubuntu-24.04", "ada", offers=there)
    assert (plan.driver_branch, plan.notes) == ("580", (said,))
    asked = Driver(branch="640")
    refusal = refused("ubuntu-24.04", "ada", driver=asked, offers=there)
    assert said in refusal.refusal and "no package of it says that it drives" in refusal.refusal
    assert refusal.instead == 'Driver(branch="580").'
    names = {"offers": there, "modaliases": ("10de:2684 nvidia-driver-640-server-open",)}
    plan = planned("ubuntu-24.04", "ada", driver=asked, **names)
    assert (plan.driver_branch, plan.module_flavour, plan.modules) == ("640", "open", "prebuilt")
    assert "linux-modules-nvidia-640-server-open-generic" in plan.driver_packages
    # Each GPU has to be named, and for the modules that are asked for.
    assert refused("ubuntu-24.04", "ada", "ampere", driver=asked, **names)
    closed = Driver(branch="640", flavour="proprietary")
    assert refused("ubuntu-24.04", "ada", driver=closed, **names)
    # What NVIDIA's own packages drive they do not say.
    pinning = {"nvidia-driver-pinning-640": ("640-2ubuntu1",)}
    assert refused(
        "ubuntu-24.04", "ada", driver=Driver(source="nvidia", branch="640"), offers=pinning
    )


def test_a_toolkit_that_no_table_knows_is_said_and_taken_where_it_is_asked_for() -> None:
    usual = planned("debian-13", "ada", cuda=Cuda(version="13.5"))
    there = {
        name.replace("13-5", new): ("1",) for name in usual.names() for new in ("13-5", "13-6")
    }
    there |= {usual.driver_packages[0]: ("580.178.04-1",), "libnccl2": ("2.33.1-1+cuda13.6",)}
    there |= {"libnccl-dev": ("2.33.1-1+cuda13.6",), "nvidia-driver-pinning-580": ("580-1",)}
    plan = planned("debian-13", "ada", cuda=Cuda(), offers=there)
    assert plan.cuda == "13.5"
    assert "offers CUDA 13.6, which deeprig's tables" in " ".join(plan.notes)
    asked = planned("debian-13", "ada", cuda=Cuda(version="13.6"), offers=there)
    assert (asked.cuda, asked.nccl) == ("13.6", "2.*+cuda13.*")
    assert "cuda-minimal-build-13-6" in asked.cuda_packages
    wanted: dict[str, Any] = {"driver": None, "cuda": Cuda(version="13.6"), "offers": there}
    old = refused("debian-13", "volta", **wanted)
    assert "CUDA 13.6 does not compile for Tesla V100" in old.refusal


def test_tables_older_than_90_days_are_said() -> None:
    plan = planned("debian-13", "ada")
    assert dated(plan, date(2027, 2, 28)) == []
    [said] = dated(plan, date(2027, 3, 1))
    assert said.startswith("deeprig's tables of GPUs, drivers and CUDA are of 2026-11-30, 91 days")
    assert all("read" in catalog.load(name) for name in tables.NAMES)


@pytest.mark.parametrize(
    ("cards", "refuses", "warns"),
    [
        (("maxwell",), True, False), (("blackwell",), True, False), (("b300",), True, False),
        (("pascal",), False, False), (("volta",), False, False), (("turing",), False, False),
        (("ada",), False, False), (("hopper",), False, False),
        (("ada", "blackwell"), False, True), (("maxwell", "pascal"), False, True),
        ((), False, False),
    ],
)  # fmt: skip
def test_tensorflow_is_refused_for_gpus_that_its_wheels_have_no_kernels_for(
    cards: tuple[str, ...], refuses: bool, warns: bool
) -> None:
    there = tuple(identify(CARDS[card]) for card in cards)
    box = Survey(
        system="ubuntu", version="24.04", architecture="x86_64", graphics=GpuFacts(gpus=there)
    )
    asked = Rig(python=Python(frameworks=("torch", "tensorflow")))
    found = decide(box, asked)
    assert isinstance(found, Refusal) is refuses
    if isinstance(found, Refusal):
        assert "TensorFlow's wheels have no kernels for" in found.refusal
        assert 'without "tensorflow"' in found.instead
    else:
        assert any("TensorFlow" in warning for warning in found.warnings) is warns
    assert isinstance(decide(box, Rig(python=Python(frameworks=("torch",)))), StackPlan)


def test_every_choice_has_its_reason() -> None:
    plan = planned("ubuntu-24.04", "ampere", cuda=Cuda())
    chosen = {"driver_branch", "module_flavour", "driver_source", "cuda", "cuda_source", "nccl"}
    assert set(plan.reasons) == chosen | {"cudnn", "torch"}
    assert all(plan.reasons.values())


def test_a_branch_past_its_end_is_told_by_a_given_day() -> None:
    plan = planned("debian-13", "ampere")
    end = branches.end(plan.driver_branch)
    assert end is not None
    assert ended(plan, end) == []
    [said] = ended(plan, date.fromordinal(end.toordinal() + 1))
    assert f"driver 580 ended on {end}" in said
    assert ended(planned("debian-13"), date(2099, 1, 1)) == []


@pytest.mark.parametrize(
    ("kernel", "package"),
    [
        ("6.1.0-56-amd64", "linux-headers-amd64"),
        ("6.1.0-56-cloud-amd64", "linux-headers-cloud-amd64"),
        ("6.12.117+deb13-amd64", "linux-headers-amd64"),
        ("6.12.117+deb13-rt-amd64", "linux-headers-rt-amd64"),
        ("6.12.38+deb12-arm64", "linux-headers-arm64"),
        ("7.3.4+deb13-cloud-amd64", "linux-headers-cloud-amd64"),
    ],
)
def test_headers_follow_the_flavour_of_the_installed_kernel(kernel: str, package: str) -> None:
    graphics = GpuFacts(kernels=(kernel, kernel))
    assert kernel_modules.headers(graphics) == (package,)
    named = replace(graphics, kernel_packages=("linux-image-rt-amd64", "linux-image-amd64"))
    assert kernel_modules.headers(named) == ("linux-headers-rt-amd64", "linux-headers-amd64")


def test_the_json_is_flat_and_has_the_names_that_stay() -> None:
    found = planned("debian-13", "ampere", cuda=Cuda()).to_json()
    stays = "driver_branch module_flavour driver_source cuda_source cuda cudnn nccl torch"
    assert {*stays.split(), "torch_backend", "packages", "reasons"} <= set(found)
    assert set(refused("debian-13", "kepler").to_json()) == {"refusal", "instead"}


def test_every_row_has_its_source_and_every_branch_its_place() -> None:
    tables = ["gpus", "drivers", "driver_packages", "repositories", "cuda", "torch"]
    rows = [
        row
        for table in tables
        for value in catalog.load(table).values()
        if isinstance(value, list)
        for row in value
        if isinstance(row, dict)
    ]
    assert len(rows) > 60
    assert [row for row in rows if not (row.get("source") or row.get("read"))] == []
    names = set(branches.known())
    for repository in catalog.load("repositories")["repository"]:
        assert set(repository["branches"]) <= names
    for archive in catalog.load("drivers")["archive"]:
        assert set(archive["branches"]) <= names


def test_where_a_question_comes_from() -> None:
    for system, usual in (("ubuntu-24.04", "distro"), ("debian-13", "nvidia")):
        request = Request(system=system, cards=(), graphics=GpuFacts(), driver=Driver(), cuda=None)
        assert request.driver_source == usual
        assert replace(request, driver=NVIDIA).driver_source == "nvidia"
