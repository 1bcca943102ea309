"""Every card on every system gets a plan with its reasons, or a refusal with a way out."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from deeprig import data, stack_page
from deeprig.driver_choice import Refusal, headers
from deeprig.gpus import Graphics, identify
from deeprig.settings import Cuda, Driver, Python, Rig
from deeprig.stack import Plan, resolve
from deeprig.survey import read
from tests.unit.recorded import DEBIAN_13

CARDS = {
    "kepler": "10de:102d",
    "maxwell": "10de:13f2",
    "pascal": "10de:1b06",
    "volta": "10de:1db6",
    "turing": "10de:1eb8",
    "ampere": "10de:2204",
    "ada": "10de:2684",
    "hopper": "10de:2330",
    "blackwell": "10de:2b85",
    "rubin": "10de:3000",
}
OLD, NEW = ("maxwell", "pascal", "volta"), ("turing", "ampere", "ada", "hopper")
KERNELS = ("6.1.0-56-amd64",)
Flavour = Literal["open", "proprietary"] | None


def decided(
    system: str,
    *architectures: str,
    flavour: Flavour = None,
    cuda: Cuda | None = None,
    **more: Any,
) -> Plan | Refusal:
    """The decision for a box with a card of each architecture in it."""
    cards = tuple(
        identify(CARDS.get(name, name), f"0000:0{n}:00.0") for n, name in enumerate(architectures)
    )
    graphics = Graphics(gpus=cards, **{"kernels": KERNELS, **more})
    return resolve(system, graphics, driver=Driver(flavour=flavour), cuda=cuda)


def planned(system: str, *architectures: str, **more: Any) -> Plan:
    plan = decided(system, *architectures, **more)
    assert isinstance(plan, Plan), plan
    return plan


def refused(system: str, *architectures: str, **more: Any) -> Refusal:
    refusal = decided(system, *architectures, **more)
    assert isinstance(refusal, Refusal), refusal
    return refusal


# system, architectures, settings -> branch, flavour, torch, backend
PLANS = [
    *(
        ("debian-12", (name,), "535", "proprietary", "torch==2.14.1", "cu126")
        for name in (*OLD, *NEW)
    ),
    *(("debian-13", (name,), "550", "proprietary", "torch==2.14.1", "cu126") for name in OLD),
    *(("debian-13", (name,), "550", "open", "torch==2.14.1", "cu126") for name in NEW),
    ("debian-13", ("pascal", "ampere"), "550", "proprietary", "torch==2.14.1", "cu126"),
    ("debian-13", ("turing", "ada"), "550", "open", "torch==2.14.1", "cu126"),
    ("debian-12", ("maxwell", "hopper"), "535", "proprietary", "torch==2.14.1", "cu126"),
]


@pytest.mark.parametrize(("system", "cards", "branch", "flavour", "torch", "backend"), PLANS)
def test_a_card_gets_its_driver_its_modules_and_its_torch(
    system: str, cards: tuple[str, ...], branch: str, flavour: str, torch: str, backend: str
) -> None:
    plan = planned(system, *cards)
    assert (plan.driver_branch, plan.module_flavour) == (branch, flavour)
    assert (plan.torch, plan.torch_backend) == (torch, backend)
    assert plan.driver_source == "distro"
    assert "linux-headers-amd64" in plan.packages
    assert not any(name.startswith(("nvidia-driver", "xserver")) for name in plan.packages)


@pytest.mark.parametrize("system", ["debian-12", "debian-13"])
@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        (("kepler",), "ends with driver 470"),
        (("blackwell",), "GeForce RTX 5090 (10de:2b85) needs driver 570 or newer"),
        (("rubin",), "needs driver 615 or newer"),
        (("ampere", "blackwell"), "GeForce RTX 5090 (10de:2b85) needs driver 570 or newer"),
        (("pascal", "blackwell"), "a box loads one of them"),
        (("kepler", "rubin"), "a box loads one of them"),
        (("10de:ffff",), "10de:ffff is in no table that deeprig has"),
        (("ampere", "10de:ffff"), "10de:ffff is in no table that deeprig has"),
    ],
)
def test_cards_that_the_archives_driver_cannot_run_are_refused(
    system: str, cards: tuple[str, ...], sentence: str
) -> None:
    refusal = refused(system, *cards)
    assert sentence in refusal.refusal
    assert refusal.instead


@pytest.mark.parametrize(
    ("system", "card", "flavour", "sentence"),
    [
        ("debian-13", "volta", "open", "Driver.flavour is 'open', which Tesla V100"),
        ("debian-12", "pascal", "open", "Driver.flavour is 'open', which GeForce GTX 1080 Ti"),
        ("debian-13", "blackwell", "proprietary", "needs driver 570"),
        ("debian-12", "ampere", "open", "Debian 12 has no open modules that go with its driver"),
    ],
)
def test_a_flavour_that_cannot_be_had_is_refused(
    system: str, card: str, flavour: Flavour, sentence: str
) -> None:
    assert sentence in refused(system, card, flavour=flavour).refusal


def test_a_flavour_that_can_be_had_is_taken() -> None:
    plan = planned("debian-13", "ampere", flavour="proprietary")
    assert plan.module_flavour == "proprietary"
    assert plan.driver_packages[0] == "nvidia-kernel-dkms"
    assert "Driver.flavour asks" in plan.reasons["module_flavour"]


def test_secure_boot_is_refused_with_the_way_out() -> None:
    refusal = refused("debian-12", "ampere", secure_boot=True)
    assert "Secure Boot is on" in refusal.refusal
    assert "turn Secure Boot off" in refusal.instead


def test_a_box_without_a_kernel_of_its_own_is_refused() -> None:
    assert "No kernel is installed" in refused("debian-12", "ampere", kernels=()).refusal
    assert planned("debian-12", "ampere", kernels=None).headers == ()  # a box one only thinks of


@pytest.mark.parametrize("system", ["ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "fedora-44"])
def test_other_systems_are_not_there_yet(system: str) -> None:
    assert "yet" in refused(system, "ampere").refusal
    graphics = Graphics(kernels=KERNELS)
    toolkit = resolve(system, graphics, driver=None, cuda=Cuda())
    assert isinstance(toolkit, Refusal)
    assert "yet" in toolkit.refusal


def test_without_a_card_there_is_no_driver_and_it_says_so() -> None:
    plan = planned("debian-12")
    assert plan.driver_branch == "none"
    assert plan.driver_packages == plan.headers == ()
    assert "no NVIDIA card" in plan.reasons["driver_branch"]
    assert (plan.torch, plan.torch_backend) == ("torch", "")


def test_a_card_that_is_to_come_is_prepared_for() -> None:
    graphics = Graphics(kernels=KERNELS)
    plan = resolve("debian-12", graphics, driver=Driver(gpus=("10de:2204",)), cuda=None)
    assert isinstance(plan, Plan)
    assert plan.driver_branch == "535"
    mixed = Driver(gpus=("10de:1b06", "10de:2b85"))
    assert isinstance(resolve("debian-12", graphics, driver=mixed, cuda=None), Refusal)


@pytest.mark.parametrize(
    ("loaded", "cards", "torch", "backend"),
    [
        ("550.163.01", ("ampere",), "torch==2.14.1", "cu126"),
        ("580.178.04", ("ampere",), "torch", ""),
        ("580.178.04", ("pascal",), "torch==2.14.1", "cu126"),
        ("580.178.04", ("pascal", "ampere"), "torch==2.14.1", "cu126"),
        ("615.71.09", ("blackwell",), "torch", ""),
        ("", ("ampere",), "torch", ""),
        ("580.178.04", ("kepler",), "torch", ""),
        ("strange", ("10de:ffff",), "torch", ""),
    ],
)
def test_torch_fits_a_driver_that_somebody_else_installed(
    loaded: str, cards: tuple[str, ...], torch: str, backend: str
) -> None:
    found = tuple(identify(CARDS.get(name, name)) for name in cards)
    graphics = Graphics(gpus=found, kernels=KERNELS, loaded_driver=loaded)
    plan = resolve("ubuntu-24.04", graphics, driver=None, cuda=None)
    assert isinstance(plan, Plan)
    assert (plan.torch, plan.torch_backend) == (torch, backend)
    assert plan.reasons["torch"]


def test_no_torch_has_kernels_for_a_kepler_and_it_says_so() -> None:
    graphics = Graphics(gpus=(identify(CARDS["kepler"]),), kernels=KERNELS)
    plan = resolve("debian-12", graphics, driver=None, cuda=None)
    assert isinstance(plan, Plan)
    assert "runs on the CPU" in plan.reasons["torch"]


@pytest.mark.parametrize(
    ("system", "cuda", "nccl"), [("debian-12", "11.8", "none"), ("debian-13", "12.4", "2.22.3")]
)
@pytest.mark.parametrize("cards", [(), ("ampere",), ("pascal",), ("hopper",)])
def test_cuda_comes_from_the_archive_with_or_without_a_card(
    system: str, cuda: str, nccl: str, cards: tuple[str, ...]
) -> None:
    plan = planned(system, *cards, cuda=Cuda())
    assert (plan.cuda, plan.nccl, plan.cudnn, plan.cuda_source) == (cuda, nccl, "none", "distro")
    assert "nvidia-cuda-toolkit" in plan.packages
    assert ("libnccl2" in plan.packages) is (nccl != "none")


@pytest.mark.parametrize(
    ("system", "card", "border"),
    [
        ("debian-12", "blackwell", "begins with 12.8"),
        ("debian-13", "blackwell", "begins with 12.8"),
        ("debian-13", "kepler", "ends with 11.8"),
        ("debian-13", "rubin", "begins with 13.4"),
    ],
)
def test_a_toolkit_that_does_not_compile_for_the_card_is_refused(
    system: str, card: str, border: str
) -> None:
    graphics = Graphics(gpus=(identify(CARDS[card]),), kernels=KERNELS)
    refusal = resolve(system, graphics, driver=None, cuda=Cuda())
    assert isinstance(refusal, Refusal)
    assert border in refusal.refusal


def test_every_choice_has_its_reason() -> None:
    plan = planned("debian-13", "ampere", cuda=Cuda())
    chosen = {"driver_branch", "module_flavour", "driver_source", "cuda", "cuda_source", "nccl"}
    assert set(plan.reasons) == chosen | {"cudnn", "torch"}
    assert all(plan.reasons.values())


def test_no_toolkit_is_above_its_drivers_own_cuda() -> None:
    table = data.load("stack")
    drivers = {row["system"]: row["cuda"] for row in table["driver"]}
    for row in table["cuda"]:
        own = tuple(int(part) for part in drivers[row["system"]].split("."))
        assert tuple(int(part) for part in row["cuda"].split(".")) <= own


def test_every_pair_of_cards_gets_an_answer_on_every_system() -> None:
    """resolve is total: a plan whose flavour each card can run, or a refusal with a way out."""
    able = {row["name"]: row["flavours"] for row in data.load("gpus")["architecture"]}
    answers = []
    for system in ("debian-12", "debian-13", "ubuntu-24.04", ""):
        for one in CARDS:
            for two in (*CARDS, "10de:ffff", ""):
                for flavour in (None, "open", "proprietary"):
                    answer = decided(system, one, two, flavour=flavour, cuda=Cuda())
                    answers.append(answer)
                    if isinstance(answer, Refusal):
                        assert answer.refusal and answer.instead
                    else:
                        assert answer.module_flavour in able[one]
                        assert answer.module_flavour in able[two]
    assert {type(answer) for answer in answers} == {Plan, Refusal}


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
    assert headers([kernel, kernel]) == (package,)


def test_the_json_is_flat_and_has_the_names_that_stay() -> None:
    found = planned("debian-13", "ampere", cuda=Cuda()).to_json()
    stays = "driver_branch module_flavour driver_source cuda_source cuda cudnn nccl torch"
    assert {*stays.split(), "torch_backend", "packages", "reasons"} <= set(found)
    assert set(refused("debian-13", "blackwell").to_json()) == {"refusal", "instead"}


def test_plan_shows_each_choice_with_its_reason_or_the_refusal() -> None:
    survey = read([*DEBIAN_13, "kernel=6.12.117+deb13-amd64"])
    rig = Rig(
        driver=Driver(gpus=(CARDS["ampere"],)), cuda=Cuda(), python=Python(frameworks=("torch",))
    )
    shown = stack_page.lines(survey, rig)
    assert [line.split(":")[0].strip() for line in shown] == [
        "driver", "kernel modules", "CUDA toolkit", "NCCL", "cuDNN", "torch",
    ]  # fmt: skip
    assert shown[0].startswith("  driver: 550; 550 is what the archive has")
    assert "torch: torch==2.14.1 with cu126; newer torch" in shown[-1]
    without = stack_page.lines(survey, replace(rig, python=Python()))
    assert without == shown[:-1]  # no torch where nobody asked for it
    [said] = stack_page.lines(survey, Rig(driver=Driver(gpus=(CARDS["blackwell"],))))
    assert "needs driver 570 or newer" in said
    assert " Instead: " in said
    assert stack_page.lines(None, Rig()) == []
