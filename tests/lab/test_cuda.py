"""CUDA from Debian's archive, on a box without a card: it compiles, and no driver comes along."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Cuda, Rig
from lab import boxes
from tasks import base, cuda
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT, run_on, variant

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Path:
    """The box's own inventory with CUDA, and without what other lanes look at."""
    return variant(
        box,
        box.inventory.with_name("cuda.py"),
        ("import Notebook,", "import Cuda, Notebook,"),
        ('notebook=Notebook(user="ai")', 'notebook=None, driver=None, cuda=Cuda(source="distro")'),
        ('python=Python(python="system")', "python=None"),
    )


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=2400
    )


def with_another_package(rig: Rig) -> None:
    """CUDA alone, with a plan that asks for a package which pulls the driver in."""
    asked = replace(rig, driver=None, cuda=Cuda(source="distro"), notebook=None, python=None)
    survey = base.survey(rig=asked)
    plan: StackPlan | None = base.decide(rig=asked, survey=survey) if survey else None
    assert plan is not None
    wanted = ("nvidia-cuda-toolkit", "nvidia-kernel-dkms")
    base.have_program()
    cuda.install(plan=replace(plan, cuda_packages=wanted), rig=asked)


def test_a_toolkit_that_would_bring_a_driver_is_refused(box: boxes.Box) -> None:
    """The simulation, with a package that does pull the driver in, is read before apt acts."""
    refused = run_on(box, with_another_package)
    assert refused.error == f"{box.name} failed at: CUDA | See that no driver would come along"
    failed = [step.name for step in refused.steps if step.status in ("failed", "waiting")]
    assert len(failed) == 2  # nothing was installed after it


def test_it_deploys(box: boxes.Box, inventory: Path) -> None:
    done = run(PYINFRA, "-y", str(inventory), "deploy.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Setting up nvidia-cuda-toolkit" in done.stdout + done.stderr  # it was to be watched


def test_a_second_deploy_changes_nothing(inventory: Path) -> None:
    done = run(PYINFRA, "-y", str(inventory), "deploy.py")
    assert done.returncode == 0
    [total] = re.findall(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", done.stdout + done.stderr)
    operations, success, errors, unchanged = total
    assert (success, errors, unchanged) == ("-", "-", operations)


def test_it_verifies_and_compiles(inventory: Path) -> None:
    done = run(DEEPRIG, "verify", "--inventory", str(inventory))
    assert done.returncode == 0, done.stdout
    found = run(DEEPRIG, "verify", "--inventory", str(inventory), "--json").stdout
    checks = [check for check in json.loads(found) if check["component"] == "cuda"]
    passed = [check for check in checks if check["outcome"] == "passed"]
    assert len(passed) >= 9, checks


def test_no_downloads_are_left_behind(box: boxes.Box) -> None:
    said = run(DEEPRIG, "lab", "ssh", box.name, "du -sm /var/cache/apt/archives")
    assert int(said.stdout.split()[0]) < 500
