"""What is sent of a machine with GPUs: what our readers make of it, and nobody's name."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deeprig import nvidia_smi, scrub
from lab import fake_gpu_files
from lab.fake_gpu_files import FOLDER, PROGRAM

ROOT = Path(__file__).parents[2]
DRIVER = "580.178.04"
Fake = Callable[..., Any]


def loaded() -> ModuleType:
    spec = spec_from_file_location("gpu_evidence", ROOT / "tools/gpu_evidence.py")
    assert spec and spec.loader
    made = module_from_spec(spec)
    sys.modules["gpu_evidence"] = made  # where dataclasses look for their module
    spec.loader.exec_module(made)
    return made


tool = loaded()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A machine with a lab's fake GPUs in a folder of its own; `instead` is another nvidia-smi."""

    def made(
        profile: str = "one-3090", *, instead: str = "", without: str = "", **values: str
    ) -> Any:
        files = fake_gpu_files.files(profile, driver=DRIVER, values=values)
        for path, text in files.items():
            own = tmp_path / path.lstrip("/")
            own.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                own.symlink_to(text.removeprefix("->"))
            else:
                own.write_text(text.replace(FOLDER, f"{tmp_path}{FOLDER}"))
        program = tmp_path / PROGRAM.lstrip("/")
        if instead:
            program.write_text(f"#!/bin/sh\n{instead}\n")
        if without:
            answers = tmp_path / f"{FOLDER}/answers.json".lstrip("/")
            said = json.loads(answers.read_text())
            for card in said["cards"]:
                del card[without]
            answers.write_text(json.dumps(said))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return tool.Machine(tmp_path / f"{FOLDER}/root".lstrip("/"))

    return made


def read_all(machine: Any) -> Any:
    """What is read of a machine, without survey, checks and torch."""
    seen = tool.Seen()
    addresses = machine.gpus()
    tool.sysfs(machine, seen, addresses)
    tool.module(machine, seen)
    cards = tool.query(machine, seen)
    if cards:
        tool.every_field(machine, seen)
        tool.other_answers(machine, seen, len(cards))
    return seen


def odd(seen: Any) -> dict[str, str]:
    return {row["what"]: row["said"] for row in seen.readings if row["is"] == "odd"}


@pytest.mark.parametrize(
    ("profile", "count"), [("one-3090", 1), ("four-1080ti", 4), ("eight-h100", 8)]
)
def test_what_our_readers_know_is_read(machine: Fake, profile: str, count: int) -> None:
    here = machine(profile)
    assert len(here.gpus()) == count  # not the switches beside them
    seen = read_all(here)
    assert odd(seen) == {}
    whats = [row["what"] for row in seen.readings if row["is"] == "read"]
    for field in ("power.limit", "pcie.link.width.max", "compute_cap", "vbios_version"):
        assert whats.count(f"nvidia-smi: {field}") == count
    assert whats.count("sysfs: driver") == whats.count("sysfs: ../max_link_width") == count
    assert "nvidia-smi topo -m" in whats and "/proc/driver/nvidia/version" in whats


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("persistence_mode", "On"),
        ("power.limit", "350.00 Watt"),
        ("pci.device_id", "2204"),
        ("compute_mode", "[Requested functionality is gone]"),
        ("ecc.mode.current", "Pending"),
    ],
)
def test_words_that_no_reader_knows_are_sent(machine: Fake, field: str, said: str) -> None:
    assert odd(read_all(machine(**{field: said})))[f"nvidia-smi: {field}"] == said


def test_a_field_that_a_driver_does_not_know_costs_only_itself(machine: Fake) -> None:
    seen = read_all(machine(without="compute_cap"))
    assert 'Field "compute_cap" is not a valid field' in odd(seen)["nvidia-smi: compute_cap"]
    assert "nvidia-smi: power.limit" in [r["what"] for r in seen.readings if r["is"] == "read"]


@pytest.mark.parametrize("profile", ["mismatch", "gpu-lost"])
def test_a_failure_in_words_that_we_know_is_no_odd_one(machine: Fake, profile: str) -> None:
    seen = read_all(machine(profile))
    whole = [r for r in seen.readings if r["what"] == "nvidia-smi: the query of all fields"]
    assert [row["is"] for row in whole] == ["failed"]


def test_a_failure_in_other_words_is_sent(machine: Fake) -> None:
    seen = read_all(machine(instead="echo The GPU is on holiday; exit 3"))
    assert odd(seen)["nvidia-smi: the query of all fields"] == "The GPU is on holiday"


@pytest.mark.parametrize(
    ("said", "how"),
    [("Completed", "read"), ("[N/A]", "missing"), ("On strike", "odd"),
     ('Field "fabric.state" is not a valid field to query.', "missing")],
)  # fmt: skip
def test_a_field_that_only_newer_drivers_know(machine: Fake, said: str, how: str) -> None:
    seen = tool.Seen()
    tool.later_fields(machine(instead=f"echo '{said}'"), seen)
    assert [row["is"] for row in seen.readings] == [how]


def test_one_that_hangs_costs_one_sentence(machine: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "EACH", 0.3)
    here = machine(instead="trap '' TERM; sleep 60")
    seen = tool.Seen()
    assert tool.query(here, seen) == []
    assert len(seen.not_asked) == 1 and "does not answer" in seen.not_asked[0]
    tool.checks(here, seen)
    tool.compute(here, seen, None)
    assert seen.not_asked[1:] == ["the live checks: nvidia-smi hangs", "torch: nvidia-smi hangs"]


def test_a_part_that_fails_costs_a_sentence() -> None:
    seen = tool.Seen()
    assert seen.part("decisions", lambda: int("x"), 5) == 5
    assert "decisions ended with ValueError: invalid literal" in seen.wrong[0]
    assert "test_gpu_evidence.py line" in seen.wrong[0]


def test_all_of_it_ends_in_time(machine: Fake) -> None:
    here = machine()
    here.until = 0.0
    assert here.ask("true").hung


def test_the_drivers_lines_are_counted_or_sent(
    machine: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine()
    log = [
        "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:01:00.0): 31, pid='<unknown>', name=<unknown>, Ch 00000008",
        "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0xffff:2351)",
        "NVRM: GPU 0000:01:00.0: the moon is in the wrong house",
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.178.04  Release Build",
        "usb 1-1: new device",
    ]
    monkeypatch.setattr(here, "ask", lambda *argv, **_: tool.Answer("", 0, "\n".join(log)))
    seen = tool.Seen()
    assert tool.kernel_log(here, seen) == {"Xid 79": 1, "Xid 31": 1}
    assert list(odd(seen).values()) == [log[3]]
    assert [row["what"] for row in seen.readings if row["is"] == "read"] == [
        "kernel log: why a GPU is not there"
    ]


def test_nothing_of_ones_own_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.socket, "gethostname", lambda: "annasbox.lan")
    monkeypatch.setenv("SUDO_USER", "anna")
    said = (
        "annasbox and annasbox.lan, anna in /home/anna/x, 192.168.1.7, 3c:7c:3f:00:11:22, "
        "GPU-8f3c0c5e-4f0f-4e0e-9a44-0c9a2b6f7d10, GPU serial number is 0322218123456"
    )
    sent = json.dumps(tool.clean({"a": [{"b": said}], "n": 5}))
    assert "<box> and <box>, <user> in /home/<user>/x, <address>, <mac>" in sent
    assert "<uuid>, GPU serial number is <serial>" in sent
    assert '"n": 5' in sent


def test_no_private_field_is_asked_for(machine: Fake, tmp_path: Path) -> None:
    log = tmp_path / "asked"
    names = ["name", "serial", "uuid", "hostname", "platform.chassis_serial_number", "pstate"]
    listed = "\\n".join(f'"{name}"' for name in names)
    here = machine(instead=f"echo \"$@\" >> {log}; printf '{listed}\\n'")
    tool.every_field(here, tool.Seen())
    assert log.read_text().splitlines()[1] == "--query-gpu=name,pstate --format=csv"


def test_whatever_the_project_asks_nvidia_smi_is_looked_at() -> None:
    """So that a query that is new somewhere has to come here too."""
    asked = set()
    for folder in ("deeprig", "tasks", "files", "templates", "tests/host"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                text = file.read_text(errors="replace")
                for words in re.findall(r"--query-(?:gpu|compute-apps)=([\w.,]+)", text):
                    asked |= set(words.split(","))
    power = re.search(
        r'^FIELDS = "(.*)"', (ROOT / "files/usr/local/lib/deeprig/power-limits").read_text(), re.M
    )
    assert power and len(asked) > 5
    assert asked | set(power[1].split(",")) <= {*nvidia_smi.FIELDS, *tool.APPS, *tool.MORE}


@pytest.mark.parametrize(
    ("capability", "computes", "wrong"),
    [("8.6", True, 0), ("8.6", False, 1), ("6.1", True, 1), ("6.1", False, 0)],
)
def test_torch_is_held_against_the_table(capability: str, computes: bool, wrong: int) -> None:
    seen = tool.Seen()
    found = {"version": "2.14.1+cu130", "cuda": "13.0"}
    tool.judge_torch(seen, found | {"gpus": [{"capability": capability, "computes": computes}]})
    assert len(seen.wrong) == wrong, seen.wrong


def test_a_torch_that_is_in_no_table_is_told() -> None:
    seen = tool.Seen()
    tool.judge_torch(seen, {"version": "1.2.0", "cuda": "10.0", "gpus": []})
    assert seen.wrong == ["torch 1.2.0 with CUDA 10.0 is in no table"]


def test_it_says_in_one_line_that_there_is_no_gpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/gpu_evidence.py", "--out", tmp_path / "a.json"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "There is no NVIDIA GPU on this machine's bus, and no nvidia-smi.\n"
    assert not (tmp_path / "a.json").exists()


def test_the_scrubber_needs_the_standard_library_alone() -> None:
    """A machine that has no environment of ours sends readings too, and those are scrubbed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
         "from deeprig import scrub, nvidia_smi, topology, modules, toolkit_versions"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert scrub.everywhere(["a", {"b": "10.0.0.1"}, 3], {}) == ["a", {"b": "<address>"}, 3]
