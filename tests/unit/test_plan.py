"""`deeprig plan`: a box by the names of its cards, and what it says where a box is refused."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from deeprig import catalog
from deeprig.catalog import gpu_search
from deeprig.catalog.gpus import identify
from deeprig.resolver.resolve import StackPlan
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Driver, Python, Rig, Storage
from deeprig.settings.validation import SettingsError
from deeprig_cli.cli import main
from deeprig_cli.plan import report as plan_report
from deeprig_cli.plan import stack_report
from deeprig_cli.plan.report import PlanReport
from tests.unit.recorded import DEBIAN_13, UBUNTU_LIKE
from tests.unit.test_deploy import plan as dry_run

NAMES = "driver_branch module_flavour driver_source cuda_source cuda cudnn nccl torch"
STAY = [*NAMES.split(), "torch_backend", "packages", "reasons"]
TODAY = date(2026, 11, 25)


def deeprig(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", *words])


def answer(*words: str) -> dict[str, Any]:
    done = deeprig(*words, "--json")
    assert done.exit_code in (0, 1), done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("asked", "pci_id"),
    [
        ("RTX 3090", "10de:2204"),
        ("rtx 3090 ti", "10de:2203"),
        ("NVIDIA GeForce RTX 3090", "10de:2204"),
        ("3090", "10de:2204"),
        ("rtx3090", "10de:2204"),
        ("1080ti", "10de:1b06"),
        ("T4", "10de:1eb8"),
        ("NVIDIA A100-SXM4-80GB", "10de:20b2"),
        ("NVIDIA A100 80GB PCIe", "10de:20b5"),
        ("H100", "10de:2339"),  # one of several that are all the same to a driver
        ("10DE:2B85", "10de:2b85"),
        ("10de:ffff", "10de:ffff"),
        ("RTX 3060 12GB", "10de:2503"),
        ("RTX 3080 10GB", "10de:2206"),
        ("RTX 3090 24GB", "10de:2204"),
        ("RTX 4060 Ti 8GB", "10de:2803"),
        ("RTX 4060Ti 16 GB", "10de:2805"),
        ("RTX 5060 Ti 16GB", "10de:2d04"),
        ("RTX 5090D", "10de:2b87"),
        ("RTX 5090 FE", "10de:2b85"),
        ("ASUS ROG Strix GeForce RTX 4090 OC Edition 24GB", "10de:2684"),
        ("MSI GeForce RTX 4070 Ti SUPER 16G GAMING X SLIM", "10de:2705"),
        ("Gigabyte RTX 3060 Ti Eagle OC D6X 8G", "10de:2486"),
        ("3060 Ti LHR", "10de:2486"),
        ("H100 SXM", "10de:2330"),
        ("A100-SXM", "10de:20b0"),
        ("HGX B200", "10de:2901"),
        ("DGX Spark", "10de:2e12"),
        ("RTX 4090 Laptop", "10de:2717"),
        ("K40", "10de:1024"),
        ("GTX 1660S", "10de:21c4"),
        ("4070tis", "10de:2705"),
        ("RTX 4050", "10de:28a1"),
        ("T4G", "10de:1eb4"),
        ("0x2204", "10de:2204"),
        ("2204", "10de:2204"),
        ("Quadro 6000", "10de:06d8"),
        ("Quadro 5000", "10de:06d9"),
        ("Quadro 4000", "10de:06dd"),
        ("RTX PRO 6000 Max-Q", "10de:2bb4"),
        ("T1000", "10de:1fb0"),
    ],
)
def test_a_card_is_found_by_what_people_call_it(asked: str, pci_id: str) -> None:
    assert gpu_search.find(asked).id == pci_id


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("RTX 6000", "Quadro RTX 6000 (10de:1e36), RTX 6000 Ada Generation (10de:26b1)"),
        ("TITAN X", "GeForce GTX TITAN X (10de:17c2), TITAN X Pascal (10de:1b00); name one"),
        ("RTX 3909", "near it are GeForce RTX 3090"),
        ("banana", "no card that deeprig knows by name; an id does too, such as 10de:2204"),
        ("", "no card that deeprig knows by name"),
        ("1002:73bf", "is an AMD GPU; deeprig is for NVIDIA GPUs only"),
        ("8086:e20b", "is an Intel GPU; deeprig is for NVIDIA GPUs only"),
        ("1af4:1050", "no id of an NVIDIA card; write it like 10de:2204"),
        ("AMD Radeon RX 7900 XTX", "is an AMD GPU; deeprig is for NVIDIA GPUs only"),
        ("MI300X", "is an AMD GPU; deeprig is for NVIDIA GPUs only"),
        ("Arc B580", "is an Intel GPU; deeprig is for NVIDIA GPUs only"),
        ("Jetson AGX Orin", "is a Jetson; NVIDIA's JetPack"),
        ("GRID T4-4Q", "is a virtual GPU; the host's vGPU software"),
        ("NVIDIA A100-40C", "is a virtual GPU; the host's vGPU software"),
        ("0 x RTX 3090", "no card that deeprig knows by name"),
        ("10de:22", "no id of an NVIDIA card"),
    ],
)
def test_a_name_that_is_none_or_several_is_told_in_one_line(asked: str, said: str) -> None:
    done = deeprig("--gpu", asked, "--os", "debian-13")
    assert done.exit_code == 2
    [line] = done.output.splitlines()
    assert said in line


NAMES_OF_THE_DRIVER = (Path(__file__).parent / "nvidia_names.txt").read_text().splitlines()
BY_THE_DRIVER = [line.split("|") for line in NAMES_OF_THE_DRIVER if not line.startswith("#")]


def test_every_name_that_nvidias_driver_gives_finds_a_gpu_with_the_same_limits() -> None:
    assert len(BY_THE_DRIVER) > 370
    for name, ids in BY_THE_DRIVER:
        right = {gpu_search._runs(identify(f"10de:{device}")) for device in ids.split()}
        for spelled in (name, name.removeprefix("NVIDIA "), name.upper()):
            assert gpu_search._runs(gpu_search.find(spelled)) in right, spelled


def test_several_of_a_kind_are_asked_for_at_once() -> None:
    for asked in ("2 x RTX 3090", "2x3090", "2 X RTX 3090", "2 \u00d7 3090", "2*3090"):
        assert [card.id for card in gpu_search.find_all(asked)] == ["10de:2204"] * 2
    done = deeprig("--gpu", "2x3090", "--gpu", "T4", "--os", "ubuntu-24.04")
    first = done.stdout.splitlines()[0]
    assert first == "Ubuntu 24.04 with 2 x GeForce RTX 3090 (10de:2204) and Tesla T4 (10de:1eb8):"


def test_the_settings_take_names_too() -> None:
    assert Driver(gpus=("RTX 3090", "2 x T4")).gpus == ("10de:2204", "10de:1eb8", "10de:1eb8")
    assert Driver(gpus=("10de:2204",)).gpus == ("10de:2204",)
    for asked, said in (("RTX 3909", "near it are GeForce RTX 3090"), ("MI300X", "an AMD GPU")):
        with pytest.raises(SettingsError) as wrong:
            Driver(gpus=(asked,))
        assert said in str(wrong.value)


@pytest.mark.parametrize("name", ["GH200", "GB200", "GB300", "GB10", "DGX Spark"])
def test_a_gpu_that_exists_on_arm64_only_brings_its_processor(name: str) -> None:
    done = deeprig("--gpu", name, "--os", "ubuntu-24.04")
    assert done.exit_code == 0 and done.stdout.startswith("Ubuntu 24.04 on arm64 with ")
    assert answer("--gpu", name, "--os", "ubuntu-24.04")["repository_folder"].endswith("/sbsa")
    wrong = deeprig("--gpu", name, "--os", "ubuntu-24.04", "--arch", "amd64")
    assert wrong.exit_code == 2
    [line] = wrong.output.splitlines()
    assert "exists with an arm64 processor only" in line


def test_a_processor_can_be_named() -> None:
    asked = ["--gpu", "T4G", "--os", "ubuntu-24.04", "--arch", "arm64"]
    found = answer(*asked)
    assert found["repository_folder"] == "ubuntu2404/sbsa"
    assert "no torch has kernels" in found["reasons"]["torch"]
    assert answer(*asked[:4])["repository_folder"] == "ubuntu2404/x86_64"


def test_every_name_in_the_table_finds_its_own_card() -> None:
    for device, name in catalog.load("gpus")["ids"]["names"].items():
        assert gpu_search.find(name).id == f"10de:{device}"


def test_a_box_one_only_thinks_of_is_planned_by_the_tables_alone() -> None:
    found = answer("--gpu", "RTX 3090", "--gpu", "10de:1b06", "--os", "ubuntu-24.04")
    assert list(found)[: len(STAY)] == STAY
    assert (found["driver_branch"], found["module_flavour"]) == ("580", "proprietary")
    assert found["driver_source"] == "distro"
    assert "linux-modules-nvidia-580-server-generic" in found["packages"]
    assert all(found["reasons"].values())


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (["--driver-source", "distro", "--cuda-source", "distro"], "driver_branch", "550"),
        (["--driver-source", "distro", "--cuda-source", "distro"], "cuda", "12.4"),
        (["--branch", "595"], "driver_branch", "595"),
        (["--flavour", "proprietary"], "module_flavour", "proprietary"),
        (["--branch", "595", "--cuda", "13.3"], "cuda", "13.3"),
        (["--torch", "2.14"], "torch", "torch==2.14.1"),
    ],
)
def test_each_option_does_what_its_setting_does(options: list[str], key: str, value: str) -> None:
    asked = ["--gpu", "RTX 3090", "--os", "debian-13"]
    assert answer(*asked)[key] != value  # the control: it is not so without
    assert answer(*asked, *options)[key] == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu", "K80"], "ends with driver 470"),
        (["--gpu", "1080 Ti", "--gpu", "5090"], "a box loads one of them"),
        (["--gpu", "RTX 3090", "--secure-boot"], "Secure Boot is on"),
        (["--gpu", "10de:ffff"], "in no table that deeprig has"),
    ],
)
def test_a_refusal_names_the_way_out_and_ends_with_1(options: list[str], said: str) -> None:
    asked = [*options, "--os", "debian-13"]
    done = deeprig(*asked)
    assert done.exit_code == 1
    assert "refused: " in done.stdout and "instead: " in done.stdout
    found = answer(*asked)
    assert set(found) == {"refusal", "instead"}
    assert said in found["refusal"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu", "RTX 3090"], "--gpu needs the system too, such as --os ubuntu-24.04."),
        (["--os", "debian-13"], "needs its card too"),
        (["--gpu", "T4", "--os", "debian-13", "--branch", "58"], "--branch is '58'; write it like"),
        (
            ["--gpu", "T4", "--os", "debian-13", "--cuda", "13"],
            "--cuda is '13'; write it like 13.0",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(options: list[str], said: str) -> None:
    done = deeprig(*options)
    assert done.exit_code == 2
    [line] = done.output.splitlines()
    assert said in line


def test_people_read_a_line_for_each_choice_with_its_reason() -> None:
    done = deeprig("--gpu", "RTX 3090", "--os", "ubuntu-24.04")
    assert done.exit_code == 0
    first, *lines = done.stdout.splitlines()
    assert first == "Ubuntu 24.04 with GeForce RTX 3090 (10de:2204):"
    assert [line.split(":")[0].strip() for line in lines] == [
        "driver", "kernel modules", "the driver's source", "CUDA toolkit", "the toolkit's source",
        "cuDNN", "NCCL", "torch",
    ]  # fmt: skip
    assert all("; " in line for line in lines)


def test_a_branch_past_its_end_is_a_warning_from_that_day_on() -> None:
    plan = StackPlan(driver_branch="535", reasons={"driver_branch": "it is asked for"})
    [line] = stack_report.lines(plan, torch=False, today=date(2026, 6, 30))
    assert line == "  driver: 535; it is asked for"
    _, warned = stack_report.lines(plan, torch=False, today=date(2026, 7, 1))
    assert "!" in warned and "ended on 2026-06-30" in warned
    [said] = stack_report.to_json(plan, today=date(2026, 7, 1))["warnings"]
    assert said in warned


def test_a_reason_that_is_a_warning_is_not_said_twice() -> None:
    plan = StackPlan(reasons={"cuda": "none fits."}, warnings=("no CUDA toolkit: none fits.",))
    [line] = stack_report.lines(plan, torch=False, today=TODAY)
    assert click.unstyle(line) == "  ! no CUDA toolkit: none fits."


RIG = Rig(storage=Storage(folder="/data"), wake_on_lan=None)
WITH_CARDS = [*DEBIAN_13, *(line for line in UBUNTU_LIKE if "5950" not in line)]


def seen(*lines: str, rig: Rig = RIG) -> PlanReport:
    """What `deeprig plan` makes of a box that answers the survey like this."""
    return PlanReport(report=dry_run(rig, [*WITH_CARDS, *lines]), rig=rig)


def test_a_box_that_is_refused_says_why_in_its_error() -> None:
    refused = seen("root_group=ai|docker", "dirty=run-file")
    assert refused.exit_status == 1
    found = plan_report.to_json(refused, TODAY)
    assert "No hosts remaining" not in found["error"]
    assert found["error"].startswith("@fake/rig1: It carries a driver from a .run file")
    assert len(found["refusals"]) == 2
    assert found["driver_branch"] == "580"  # the rest of the answer is there all the same
    page = plan_report.page(refused, TODAY)
    assert "a run would refuse, before it touches anything" in page
    assert page.count("who is in group docker") == 1


def test_what_its_cards_cannot_have_is_said_once_with_the_way_out() -> None:
    refused = seen(rig=replace(RIG, driver=Driver(branch="470")))
    assert refused.exit_status == 1
    found = plan_report.to_json(refused, TODAY)
    assert found["refusal"] in found["error"]
    assert found["instead"] in found["error"]
    page = plan_report.page(refused, TODAY)
    assert page.count(found["refusal"]) == 1
    assert f"    instead: {found['instead']}" in page


def test_a_box_is_one_flat_object_under_its_name() -> None:
    found = plan_report.to_json(seen(), TODAY)
    assert {"host", "error", "changes", "reinstall_erases", *STAY} <= set(found)
    assert found["host"] == "@fake/rig1"
    assert found["fake_gpu"] == "test"


def test_pretended_cards_are_named_so_and_torch_is_told_where_it_is_asked_for() -> None:
    page = plan_report.page(seen(), TODAY)
    assert page.startswith("@fake/rig1 [fake GPU: test]: a run would change ")
    assert "\n  driver: 580; " in page
    assert "\n  torch: " not in page
    asked = replace(RIG, python=Python(frameworks=("torch",)))
    assert "\n  torch: " in plan_report.page(seen(rig=asked), TODAY)


def test_a_box_that_was_not_reached_has_an_error_and_nothing_decided() -> None:
    gone = PlanReport(report=Report(host="rig1", error="rig1 does not answer."), rig=RIG)
    assert gone.exit_status == 2
    assert click.unstyle(plan_report.page(gone, TODAY)) == "rig1 does not answer."
    assert "driver_branch" not in plan_report.to_json(gone, TODAY)


def test_an_inventory_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    done = deeprig("--inventory", str(tmp_path / "none.py"))
    assert done.exit_code == 2
    [line] = done.output.splitlines()
    assert "is not there; name the inventory" in line


def test_a_box_that_cannot_be_reached_says_why_in_its_error() -> None:
    nobody = {"rig": RIG, "ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_user": "nobody"}
    report = runs.run("rig1", nobody, lambda rig: None, dry=True)
    assert report.error is not None
    assert report.error.startswith("rig1: Could not connect")
    assert PlanReport(report=report, rig=RIG).exit_status == 2
