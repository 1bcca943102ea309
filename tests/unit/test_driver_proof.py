"""The proof on the box says what is wrong, with what the box's own commands would answer."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "box/deeprig_box/nvidia/driver.py"
KERNEL = "6.1.0-56-amd64"
PACKAGES = """\
installed nvidia-kernel-dkms 535.309.01-0+deb12u1
installed nvidia-smi 535.309.01-0+deb12u1
config-files libcuda1 535.261.03-1"""
# `modinfo -k 6.1.0-56-amd64 -F FIELD MODULE` on Debian 12, 2026-11-23.
MODULES = {
    (KERNEL, "version", "nvidia-current"): "535.309.01",
    (KERNEL, "license", "nvidia-current"): "NVIDIA",
    (KERNEL, "version", "nvidia-current-uvm"): "535.309.01",
    (KERNEL, "filename", "nvidia-current-uvm"): "/lib/modules/.../nvidia-current-uvm.ko",
}
Answers = Callable[..., ModuleType]


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """The module, on a box where `modules` answers for modinfo, with that plan."""

    def made(modules: dict[tuple[str, str, str], str] = MODULES, **plan: object) -> ModuleType:
        spec = importlib.util.spec_from_file_location("driver_proof", SCRIPT)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        asked = {"branch": "535", "flavour": "proprietary", "module": "nvidia-current"}
        asked |= {"source": "distro", "modules": "dkms", "dkms_name": "nvidia-current"}
        asked |= {"packages": ["nvidia-kernel-dkms", "nvidia-smi"], **plan}
        module.PLAN = tmp_path / "driver.json"  # type: ignore[attr-defined]
        module.PLAN.write_text(json.dumps(asked))
        module.LOADED = tmp_path / "version"  # type: ignore[attr-defined]

        def said(*argv: str) -> str:
            match argv:
                case ("dpkg-query", *_):
                    return PACKAGES
                case ("modinfo", "-k", kernel, "-F", field, name):
                    return modules.get((kernel, field, name), "")
                case ("uname", "-r"):
                    return KERNEL
            return ""

        monkeypatch.setattr(module, "said", said)
        monkeypatch.setattr(module, "kernels", lambda: [KERNEL])
        return module

    return made


def test_a_whole_driver_is_ok(proof: Answers) -> None:
    assert proof().state() == f"ok 535.309.01 for {KERNEL}"


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({"packages": ["nvidia-kernel-dkms", "libcuda1"]}, "not installed: libcuda1"),
        ({"branch": "550"}, "driver 535.309.01 is there, and the plan is 550"),
        ({"flavour": "open"}, "has licence 'NVIDIA', which is not the open one"),
        ({"module": "nvidia-current-open"}, f"there is no nvidia-current-open for kernel {KERNEL}"),
    ],
)
def test_what_differs_from_the_plan_is_said(
    proof: Answers, plan: dict[str, object], sentence: str
) -> None:
    assert sentence in proof(**plan).state()


def test_a_module_of_another_version_is_said(proof: Answers) -> None:
    old = {**MODULES, (KERNEL, "version", "nvidia-current"): "535.261.03"}
    assert "is 535.261.03, and the packages are 535.309.01" in proof(old).state()


def test_a_kernel_that_did_not_build_needs_no_module_while_the_guard_keeps_the_box_off_it(
    proof: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer, module = "6.1.0-57-amd64", proof()
    monkeypatch.setattr(module, "kernels", lambda: [KERNEL, newer])
    monkeypatch.setattr(module, "has_headers", lambda kernel: True)
    monkeypatch.setattr(module, "GUARD", tmp_path / "boot-guard.json")
    assert module.state() == f"there is no nvidia-current for kernel {newer}"
    for next_boot, version, state in (
        (KERNEL, "535.309.01", f"ok 535.309.01 for {KERNEL}"),
        (newer, "535.309.01", f"there is no nvidia-current for kernel {newer}"),
        (KERNEL, "535.1", f"there is no nvidia-current for kernel {newer}"),
    ):
        said = {"unbuilt": {newer: version}, "next": next_boot}
        module.GUARD.write_text(json.dumps(said))
        assert module.state() == state


def test_a_fabric_manager_of_another_build_is_said(
    proof: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = proof()
    there = module.installed()
    for version, state in (("535.309.01", "ok "), ("535.261.03", "which must be 535.309.01")):
        its = {**there, "nvidia-fabricmanager-535": f"{version}-1"}
        monkeypatch.setattr(module, "installed", lambda its=its: its)
        assert state in module.state()


def test_a_missing_uvm_module_is_said(proof: Answers) -> None:
    without = {key: value for key, value in MODULES.items() if not key[2].endswith("uvm")}
    assert f"there is no nvidia-current-uvm for kernel {KERNEL}" in proof(without).state()


@pytest.mark.parametrize(
    ("holder", "loaded", "modules", "said"),
    [
        ("nouveau", "", MODULES, "reboot: nouveau holds the card 0000:01:00.0"),
        (
            "vfio-pci",
            "",
            MODULES,
            "wrong: every card is held by another driver (0000:01:00.0 by vfio-pci)",
        ),
        ("NovaCore", "", MODULES, "reboot: NovaCore holds the card 0000:01:00.0"),
        ("", "", MODULES, "load"),
        ("", "", {}, f"reboot: there is no nvidia-current for kernel {KERNEL}, which is running"),
        ("nvidia", "535.309.01", MODULES, "ok"),
        (
            "nvidia",
            "535.261.03",
            MODULES,
            "reboot: driver 535.261.03 is loaded, 535.309.01 installed",
        ),
    ],
)
def test_a_reboot_is_owed_only_where_something_is_in_the_way(
    proof: Answers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    holder: str,
    loaded: str,
    modules: dict[tuple[str, str, str], str],
    said: str,
) -> None:
    module = proof(modules)
    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    if holder:
        (tmp_path / holder).mkdir()
        (card / "driver").symlink_to(tmp_path / holder)
    if loaded:
        module.LOADED.write_text(f"{loaded}\n")
    monkeypatch.setattr(module, "cards", lambda: [card])
    assert module.in_use() == said


def test_without_a_card_nothing_is_loaded(proof: Answers) -> None:
    module = proof()
    module.cards = lambda: []  # type: ignore[attr-defined]
    assert module.in_use() == "ok"
