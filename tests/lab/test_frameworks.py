"""torch on a box without a GPU: it gets there through a power cut, and trains in a notebook."""

import contextlib
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from lab import boxes
from tests.host.kernels import COMPUTE
from tests.lab.conftest import DEEPRIG, ROOT, deploy, variant

pytestmark = pytest.mark.lab

Login = Callable[..., str]
CUT_AT_GB = 1.0
TOOLS = "/opt/deeprig/notebook/bin/python"
CHECKED = {
    "the framework has the version asked for: torch",
    "the frameworks environment has all it needs: torch",
    "the framework multiplies matrices in its own kernel: torch",
}
# Which of two interleaved spirals a point is on: a straight line gets little more than half right.
TRAIN = """
import json, math, torch
torch.manual_seed(0)
turn = torch.rand(2000) * 3 * math.pi
arm = torch.arange(2000) % 2
angle = turn + arm * math.pi
points = torch.stack([turn * angle.cos(), turn * angle.sin()], 1) / 5
points += torch.randn(2000, 2) * 0.02
net = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64),
                          torch.nn.Tanh(), torch.nn.Linear(64, 2))
line = torch.nn.Linear(2, 2)
def fit(model, steps):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(model(points[:1500]), arm[:1500])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    right = model(points[1500:]).argmax(1) == arm[1500:]
    return {"losses": losses[::20], "accuracy": right.float().mean().item()}
print(json.dumps({"net": fit(net, 500), "line": fit(line, 500)}))
"""
# The tools' own TensorBoard writes the scalars, so that torch's environment needs none.
WRITE = """
import json, sys
from tensorboard.summary import Writer
writer = Writer(sys.argv[1])
for step, loss in enumerate(json.loads(sys.argv[2])):
    writer.add_scalar("loss", loss, step)
writer.close()
"""


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Path:
    """The box's own inventory with torch."""
    torch = ('Python(python="system")', 'Python(python="system", frameworks=("torch",))')
    return variant(box, box.inventory.with_name("frameworks.py"), torch)


def gigabytes(login: Login, folder: str) -> float:
    return int(login(f"sudo du -s --block-size=1M {folder} 2>/dev/null || echo 0").split()[0]) / 1e3


def test_a_power_cut_in_the_middle_of_the_download_is_made_good_by_the_next_run(
    box: boxes.Box, login: Login, inventory: Path
) -> None:
    done: list[subprocess.CompletedProcess[str]] = []
    first = threading.Thread(target=lambda: done.append(deploy(inventory)))
    first.start()
    cache = "/mnt/data-disk/ai/cache/uv"
    while first.is_alive():
        # While the deploy moves the way in, sshd refuses whoever comes in that moment.
        with contextlib.suppress(DeeprigError):
            if gigabytes(login, cache) >= CUT_AT_GB:
                break
        time.sleep(1)
    boxes.cut(box.name)
    first.join(300)
    assert done[0].returncode != 0
    # It came in the background, at times within the 5 s after which it says how far it is.
    assert "Install torch" in login("sudo cat /home/ai/.local/state/deeprig/python-env.log")
    mark = login("sudo cat /home/ai/envs/torch/.deeprig")
    assert mark.strip() == "building"  # the control: it was in the middle of it

    started = time.monotonic()
    second = deploy(inventory)
    assert second.returncode == 0, second.stdout + second.stderr
    print(f"deployed {time.monotonic() - started:.0f} s after the power cut")
    assert "GB written" in second.stderr + second.stdout
    sizes = {folder: gigabytes(login, folder) for folder in ("/home/ai/envs/torch", cache)}
    print(f"on disk, in GB: {sizes}")


def test_a_second_deploy_changes_nothing(inventory: Path) -> None:
    done = deploy(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    [total] = re.findall(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", done.stdout + done.stderr)
    operations, success, errors, unchanged = total
    assert (success, errors, unchanged) == ("-", "-", operations)


def test_it_verifies(inventory: Path) -> None:
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    found = json.loads(done.stdout)
    ours = [c for c in found if c["component"] in ("python_env", "frameworks", "notebook")]
    assert [c for c in ours if c["outcome"] not in ("passed", "skipped")] == []
    assert {c["check"] for c in found if c["outcome"] == "passed"} >= CHECKED
    [gpu] = [c for c in found if c["check"] == "the framework computes on every gpu: torch"]
    assert (gpu["outcome"], gpu["reason"]) == ("skipped", "no NVIDIA GPU in this box")


def test_what_a_kernel_prints_over_a_while_is_read_whole(login: Login) -> None:
    """A check of several GPUs prints a line when each is done."""
    code = "import time; print(1); time.sleep(1); print(2)"
    words = [TOOLS, "-c", COMPUTE, "8888", "deeprig-torch", code]
    assert login(f"cd /; sudo -u ai {shlex.join(words)}").split() == ["1", "2"]


def test_what_evidence_asks_of_a_gpu_is_right_on_the_processor(login: Login) -> None:
    """With the torch of a deploy, and on a box where it sees no GPU."""
    tool = (ROOT / "tools/gpu_evidence.py").read_text()
    login(f"cat > /tmp/gpu_evidence.py <<'END_OF_TOOL'\n{tool}END_OF_TOOL")
    run = (
        "cd /; sudo -u ai /home/ai/envs/torch/bin/python /tmp/gpu_evidence.py --torch-into {0} {1}"
    )
    for device in ("", "--torch-device cpu"):
        login(run.format("/tmp/torch.json", device))
        found = json.loads(login("cat /tmp/torch.json"))
        assert found["no gpu"]
    [one] = found["gpus"]
    assert one["computes"] is True and "error" not in one


def test_a_network_learns_in_a_notebooks_kernel(login: Login) -> None:
    started = time.monotonic()
    words = [TOOLS, "-c", COMPUTE, "8888", "deeprig-torch", TRAIN]
    said = json.loads(login(f"cd /; sudo -u ai {shlex.join(words)}"))
    net, line = said["net"], said["line"]
    print(
        f"{time.monotonic() - started:.0f} s: loss {net['losses'][0]:.3f} to "
        f"{net['losses'][-1]:.3f}, {net['accuracy']:.1%} right; a line {line['accuracy']:.1%}"
    )
    assert net["losses"][-1] < net["losses"][0] / 5
    assert net["accuracy"] > 0.95
    assert line["accuracy"] < 0.75  # the control: it takes a network

    run, losses = "/home/ai/runs/spirals", json.dumps(net["losses"])
    login(f"cd /; sudo -u ai {shlex.join([TOOLS, '-c', WRITE, run, losses])}")
    tags = "curl -s http://127.0.0.1:6006/data/plugin/scalars/tags"
    deadline = time.monotonic() + 60
    while "spirals" not in (shown := json.loads(login(tags))):
        assert time.monotonic() < deadline, shown
        time.sleep(2)
    assert "loss" in shown["spirals"]
