"""What GPUs are asked to compute, on the processor by torch itself: nothing of it is as in a fake.

It needs a Python with torch, this one or TORCH_PYTHON; a GPU's own time is too dear for a slip.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.host import computing

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / "tools/gpu_evidence.py")


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that has torch."""
    named = os.environ.get("TORCH_PYTHON")
    if not named and not find_spec("torch"):
        pytest.skip("no torch here; TORCH_PYTHON names a Python that has it")
    return named or sys.executable


def run(*words: str) -> str:
    """Its output, on a machine where CUDA shows no GPU."""
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def evidence(python: str, file: Path, *more: str) -> dict[str, Any]:
    run(python, TOOL, "--torch-into", str(file), *more)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_what_the_evidence_asks_of_a_gpu_is_right(python: str, tmp_path: Path) -> None:
    found = evidence(python, tmp_path / "torch.json", "--torch-device", "cpu")
    [one] = found["gpus"]
    assert one["computes"] is True and "error" not in one
    for what in ("matrix product is right", "copy comes back whole", "convolution is right"):
        assert one[what] is True
    assert one["on the GPU GB/s"] > 0


def test_without_a_gpu_the_evidence_says_why(python: str, tmp_path: Path) -> None:
    found = evidence(python, tmp_path / "torch.json")
    assert found["gpus"] == []
    assert found["no gpu"]


def test_the_check_of_each_gpu_is_right(python: str) -> None:
    code = computing.ON_EVERY_CARD
    assert "cuda:{n}" in code and "torch.cuda.device_count()" in code
    code = code.replace("cuda:{n}", "cpu").replace("torch.cuda.device_count()", "2")
    assert run(python, "-c", code) == "0 True\n1 True\n"


def test_the_check_of_nccl_counts_right(python: str) -> None:
    """NCCL itself needs GPUs: the sum is made here in its place."""
    code = computing.TOGETHER
    for there, here in (
        ("cuda:{n}", "cpu"),
        ("torch.cuda.device_count()", "3"),
        ("torch.cuda.nccl.all_reduce", "summed"),
        ("torch.cuda.synchronize(n)", "pass"),
        ("1 << 26", "1 << 10"),
    ):
        assert there in code
        code = code.replace(there, here)
    wrong = "def summed(parts):\n    pass\n"
    real = "import torch, inspect; print(*inspect.signature(torch.cuda.nccl.all_reduce).parameters)"
    assert run(python, "-c", real).split()[:2] == ["inputs", "outputs"]
    summed = "def summed(parts):\n    whole = sum(parts)\n    for part in parts: part[:] = whole\n"
    assert run(python, "-c", summed + code).startswith("True ")
    assert run(python, "-c", wrong + code).startswith("False ")


def test_the_check_of_the_framework_is_right(python: str) -> None:
    code = f"{computing.MULTIPLIES['torch']}; {computing.NEAR}"
    assert run(python, "-c", code) == "True\n"
    code = computing.GPUS_SEEN["torch"].replace("'cuda'", "'cpu'")
    assert run(python, "-c", code) == "3.0 0\n"


def test_the_check_of_cudnn_tells_whose_it_is(python: str) -> None:
    version, *paths = run(python, "-c", computing.CUDNN_IN_USE).split()
    if version == "no":
        pytest.skip("this torch is built without CUDA")
    assert version.isdigit() and paths
    assert all("/site-packages/" in path for path in paths)
