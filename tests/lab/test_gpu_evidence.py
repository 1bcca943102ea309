"""What is sent of a machine with GPUs, made in a box by the way that the docs say, as root and not.

The GPUs are fakes, and the file says so; nothing is deployed.
"""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from lab import boxes, fake_gpu
from lab.boxes import ssh_command
from tasks import network_access
from tests.lab.conftest import ROOT, run_on

pytestmark = pytest.mark.lab

Evidence = Callable[..., dict[str, Any]]
PACKAGES = "make python3-venv pciutils"
RUN = "cd src && {} .venv/bin/python tools/gpu_evidence.py --out /tmp/gpu.json && cat /tmp/gpu.json"


def on_box(box: boxes.Box, command: str, stdin: bytes = b"") -> str:
    login, environment = ssh_command(box)
    done = subprocess.run(
        [*login, command], input=stdin, capture_output=True, check=False, timeout=900,
        env={**environment, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]
    return done.stdout.decode()


def checkout() -> bytes:
    """The files of this checkout, changed ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in listed.stdout.splitlines():
            if (ROOT / name).exists():
                archive.add(ROOT / name, arcname=name)
    return packed.getvalue()


@pytest.fixture(scope="module")
def evidence(box: boxes.Box) -> Evidence:
    """The file, made in the box with these fake GPUs, and all that was said before it."""
    assert run_on(box, lambda rig: network_access.provide(settings=rig)).error is None
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq"
    on_box(box, f"sudo sh -c 'apt-get update -qq && {install} {PACKAGES}' >/dev/null")
    on_box(box, "mkdir src && tar xz -C src", checkout())
    on_box(box, "cd src && make env")
    on_box(box, "sudo touch /boot/vmlinuz-6.12.1-amd64")

    def made(profile: str, *, sudo: bool = False, **values: str) -> dict[str, Any]:
        fake_gpu.put(box, profile, values=values)
        on_box(box, "sudo rm -f /tmp/gpu.json")
        said = on_box(box, RUN.format("sudo" if sudo else ""))
        found: dict[str, Any] = json.loads(said[said.index("\n{") :])
        return found

    return made


@pytest.mark.parametrize("sudo", [False, True])
def test_a_gpu_is_read_checked_and_planned_for(
    box: boxes.Box, evidence: Evidence, sudo: bool
) -> None:
    found = evidence("one-3090", sudo=sudo)
    gpu = found["gpu"]
    assert gpu["as"] == ("root" if sudo else "a user")
    assert gpu["fake"] is True
    assert gpu["counts"]["read"] > 30
    assert "odd" not in gpu["counts"]
    assert gpu["wrong"] == []
    assert gpu["plan"]["module_flavour"] == "open"
    assert gpu["seconds"] < 240
    [seen] = found["boxes"]
    checks = {check["check"]: check for check in seen["checks"]}
    assert all(check["fake"] for check in checks.values())
    for name in ("nvidia smi answers", "persistence is on", "the cards are what the table says"):
        assert checks[name]["outcome"] == "passed", checks[name]
    whole = json.dumps(found)
    for own in (box.name, box.host, "GPU-955ddd45", "/home/deeprig"):
        assert own not in whole


def test_what_is_otherwise_is_in_its_own_words(evidence: Evidence) -> None:
    found = evidence("one-3090", **{"compute_cap": "9.9", "persistence_mode": "Sometimes"})["gpu"]
    odd = {row["what"]: row["said"] for row in found["readings"] if row["is"] == "odd"}
    assert odd == {"nvidia-smi: persistence_mode": "Sometimes"}
    assert found["wrong"] == [
        "GeForce RTX 3090 (10de:2204) has compute capability 9.9, and the table says 8.6"
    ]


def test_a_driver_that_hangs_costs_a_sentence(box: boxes.Box, evidence: Evidence) -> None:
    evidence("one-3090")
    hang = "#!/bin/sh\\ntrap : TERM\\nsleep 1000\\n"
    on_box(box, f"sudo sh -c 'printf \"{hang}\" > /usr/local/bin/nvidia-smi'")
    said = on_box(box, RUN.format(""))
    gpu = json.loads(said[said.index("\n{") :])["gpu"]
    assert gpu["seconds"] < 120
    assert [row for row in gpu["not_asked"] if "nvidia-smi" in row] == [
        "nvidia-smi does not answer within 20 s: it was not asked again",
        "the live checks: nvidia-smi hangs",
        "torch: nvidia-smi hangs",
    ]
    assert gpu["loaded"]["module"] == "580.178.04"  # what needs no answer is read all the same
