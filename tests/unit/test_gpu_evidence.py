"""What is sent of a machine with GPUs: what our readers make of it, and nobody's name."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deeprig.parsers import nvidia_smi
from deeprig_cli.verify import scrub
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
    seen = tool.Seen()
    assert tool.checks(here, seen) == []
    assert tool.compute(here, seen, "python3") == {}
    assert seen.not_asked == [
        "the live checks: no time is left for them",
        "torch: no time is left for it",
    ]


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
    for folder in ("deeprig", "deeprig_cli", "tasks", "box", "files", "templates", "tests/host"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                text = file.read_text(errors="replace")
                for words in re.findall(r"--query-(?:gpu|compute-apps)=([\w.,]+)", text):
                    asked |= set(words.split(","))
    power = re.search(
        r'^FIELDS = "(.*)"', (ROOT / "box/deeprig_box/nvidia/power_limits.py").read_text(), re.M
    )
    assert power and len(asked) > 5
    assert asked | set(power[1].split(",")) <= {*nvidia_smi.FIELDS, *tool.APPS, *tool.MORE}


def torchs(*gpus: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "2.14.1+cu130", "cuda": "13.0", "gpus": list(gpus)} | more


@pytest.mark.parametrize(
    ("capability", "computes", "wrong"),
    [("8.6", True, 0), ("8.6", False, 1), ("6.1", True, 1), ("6.1", False, 0), ("8.6", None, 0)],
)
def test_torch_is_held_against_the_table(
    capability: str, computes: bool | None, wrong: int
) -> None:
    seen = tool.Seen()
    tool.judge_torch(seen, torchs({"capability": capability, "computes": computes}))
    assert len(seen.wrong) == wrong, seen.wrong


def test_a_gpu_that_is_full_is_no_gpu_without_kernels() -> None:
    seen = tool.Seen()
    full = {"capability": "", "computes": None, "error": "CUDA out of memory."}
    tool.judge_torch(seen, torchs(full))
    assert (seen.wrong, seen.not_asked) == ([], ["torch on GPU 0: CUDA out of memory."])


def test_what_a_gpu_computes_wrong_is_told() -> None:
    seen = tool.Seen()
    wrong = {"matrix product is right": False, "copy comes back whole": True}
    tool.judge_torch(seen, torchs({"capability": "8.6", "computes": True} | wrong))
    assert seen.wrong == ["torch on GPU 0: it is not so that the matrix product is right"]


def test_on_arm64_torch_is_held_against_the_wheels_of_arm64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool.platform, "machine", lambda: "aarch64")
    seen = tool.Seen()
    tool.judge_torch(
        seen,
        torchs({"capability": "11.0", "computes": True}, {"capability": "7.5", "computes": False}),
    )
    assert seen.wrong == []


@pytest.mark.parametrize(
    ("built", "wrong"),
    [(["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"], []),
     (["sm_80", "sm_90a"], ["torch 2.14.1 has kernels for 8.0, 9.0, and by the table for "
                            "7.5, 8.0, 8.6, 9.0, 10.0, 12.0"]), ([], [])],
)  # fmt: skip
def test_torchs_own_list_of_kernels_is_held_against_the_table(
    monkeypatch: pytest.MonkeyPatch, built: list[str], wrong: list[str]
) -> None:
    monkeypatch.setattr(tool.platform, "machine", lambda: "x86_64")
    seen = tool.Seen()
    tool.judge_torch(seen, torchs(architectures=built))
    assert seen.wrong == wrong


def test_a_torch_that_is_in_no_table_is_told() -> None:
    seen = tool.Seen()
    tool.judge_torch(seen, torchs(version="1.2.0+cu100", cuda="10.0"))
    assert seen.wrong == ["torch 1.2.0 with CUDA 10.0 is in no table"]


@pytest.mark.parametrize("version", ["2.14.1", "2.14.0a0+a2c3d4e.nv26.10"])
def test_a_torch_of_another_builder_is_held_against_no_table(version: str) -> None:
    seen = tool.Seen()
    tool.judge_torch(seen, torchs({"capability": "6.1", "computes": True}, version=version))
    assert seen.wrong == []
    assert seen.not_asked == [f"torch {version} is no wheel of PyTorch's: no table is about it"]


NO_DRIVER = "Found no NVIDIA driver on your system."


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("echo 'it has no torch' >&2", ["torch of {}: it has no torch"]),
        ("echo 'OSError: libcudart.so.13: no such file' >&2; exit 1",
         ["torch of {}: OSError: libcudart.so.13: no such file"]),
        ("kill -SEGV $$", ["torch of {}: it ends with -11"]),
        (f"""echo '{json.dumps(torchs() | {"no gpu": NO_DRIVER})}' > $3""",
         [f"torch 2.14.1+cu130 sees no GPU: {NO_DRIVER}"]),
        (f"""echo '{json.dumps(torchs({"capability": "8.6", "computes": None}))}' > $3
             exec sleep 60""",
         ["torch has not computed within 6 s", "torch on GPU 0: it has not ended"]),
    ],
)  # fmt: skip
def test_a_torch_that_does_not_compute_costs_a_sentence(
    machine: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, python: str, said: list[str]
) -> None:
    monkeypatch.setattr(tool, "TORCH", 6)
    own = tmp_path / "python"
    own.write_text(f"#!/bin/sh\n{python}\n")
    own.chmod(0o755)
    seen = tool.Seen()
    tool.compute(machine(), seen, str(own))
    assert seen.not_asked == [line.format(own) for line in said]
    assert seen.wrong == []


def test_a_python_that_is_not_there_costs_a_sentence(machine: Fake) -> None:
    seen = tool.Seen()
    tool.compute(machine(), seen, "/none/python")
    assert seen.not_asked == ["torch of /none/python: /none/python: No such file or directory"]


def test_an_older_python_can_have_the_torch() -> None:
    """Ubuntu 22.04's own is 3.10, and the same file is run by it."""
    source = (ROOT / "tools/gpu_evidence.py").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    first = next(node for node in tree.body if isinstance(node, ast.ImportFrom))
    assert first.module == "__future__"  # else its annotations would be worked out
    old = "import sys; sys.version_info < (3, 11) or sys.exit(3)"
    for name in filter(shutil.which, ("python3.8", "python3.9", "python3.10")):
        if subprocess.run([name, "-c", old], capture_output=True, check=False).returncode:
            continue
        words = [name, str(ROOT / "tools/gpu_evidence.py"), "--torch-into", "/none/file"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stderr == "it has no torch\n"


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
         "from deeprig_cli.verify import scrub; "
         "from deeprig.parsers import nvidia_smi, topology, kernel_modules, cuda_versions"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert scrub.everywhere(["a", {"b": "10.0.0.1"}, 3], {}) == ["a", {"b": "<address>"}, 3]
