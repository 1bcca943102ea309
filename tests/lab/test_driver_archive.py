"""Ubuntu's own driver with modules made for its kernel, and CUDA from NVIDIA: all of it stand-ins.

The box is the ubuntu-like one; the lab's stand-ins for Ubuntu's archive and NVIDIA's repository
serve it packages of the real ones' names, versions and relations.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import boxes, fake_gpu
from lab.stand_ins import nvidia_repository, ubuntu_archive
from tasks import driver, manifest
from tests.lab import drivers
from tests.lab.conftest import DEEPRIG, ROOT, deploy, run_on
from tests.lab.drivers import INSTALL, RTX_3090, STATE, Login
from tests.lab.receivers import Ntfy
from tests.lab.test_notify import LOOK, listening, send_to

pytestmark = pytest.mark.lab

KERNEL = "6.8.0-142-generic"
UPDATE = "sudo apt-get -q update"
PATCH = "sudo unattended-upgrade --verbose 2>&1"


@pytest.fixture(scope="module")
def ubuntu(box: boxes.Box) -> Iterator[Any]:
    assert box.os == "ubuntu-like", "this lane is for --os ubuntu-like"
    with ubuntu_archive.serve() as repository:
        yield repository


@pytest.fixture(scope="module")
def nvidia(box: boxes.Box) -> Iterator[Any]:
    with nvidia_repository.serve(["ubuntu2404"]) as repository:
        yield repository


@pytest.fixture(scope="module")
def file(box: boxes.Box, nvidia: Any) -> Path:
    mirror = f'mirror="{nvidia.url}", repo_key="{nvidia.fingerprint("ubuntu2404")}"'
    return drivers.inventory(
        box, "archive.py", f'driver=Driver(gpus=("{RTX_3090}",))', f"cuda=Cuda({mirror})"
    )


@pytest.fixture(scope="module")
def deployed(box: boxes.Box, ubuntu: Any, file: Path) -> subprocess.CompletedProcess[str]:
    """A box with a kernel, as Ubuntu's installer leaves it, and the first deploy."""
    kernel = f"{INSTALL} initramfs-tools deeprig-lab-hello && {INSTALL} linux-generic"
    command = f"{ubuntu.setup}\n{UPDATE} && {kernel}"
    drivers.on(box, command)
    return deploy(file)


@pytest.fixture(autouse=True)
def went_well(deployed: subprocess.CompletedProcess[str]) -> None:
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr


def test_the_driver_has_modules_for_the_kernel_and_none_was_built(login: Login) -> None:
    assert login(STATE).strip() == f"ok 580.173.02 for {KERNEL}"
    assert login("command -v dkms || echo none").strip() == "none"
    signer = login(f"sudo modinfo -k {KERNEL} -F signer nvidia").strip()
    assert signer == "Kernel module signing stand-in (deeprig lab)"


def test_nothing_came_from_where_it_should_not(login: Login) -> None:
    there = drivers.packages(login)
    assert there["nvidia-headless-no-dkms-580-server-open"] == "580.173.02-0ubuntu0.24.04.1"
    assert login("dpkg-query -W cuda cuda-drivers nvidia-open 2>/dev/null || true") == ""
    cuda = drivers.packages(login, ["libcudnn9-cuda-13", "libnccl2", "cuda-nvcc-13-0"])
    assert cuda["libnccl2"] == "2.28.9-1+cuda13.0"  # 2.32.3-1+cuda13.4 is there too


def test_a_second_deploy_changes_nothing(file: Path) -> None:
    assert drivers.changes(deploy(file)) == []


def test_it_verifies(file: Path) -> None:
    passed = drivers.verified(file)["passed"]
    for check in (
        "driver: kernels are held together with modules that were made for them",
        "cuda: a program that nvcc compiled runs",
        "cuda: a program links with nccl",
        "nvidia_repository: it stands as it was compared",
    ):
        assert check in passed
    assert sum(one.startswith("cuda: the compiler is found") for one in passed) >= 4
    assert sum(one.startswith("cuda: the library loads") for one in passed) == 2


def test_the_kernel_and_its_modules_are_one_set_with_the_driver(login: Login) -> None:
    held = set(login("apt-mark showhold").split())
    assert {"linux-generic", "linux-image-generic", "linux-headers-generic"} <= held
    assert {name for name in drivers.packages(login) if name.startswith("linux-")} <= held
    assert "libcudnn9-cuda-13" not in held
    assert "deeprig-lab-hello" not in held


def test_nothing_moves_though_newer_ones_are_offered(
    box: boxes.Box, login: Login, ubuntu: Any, file: Path
) -> None:
    """A point release, a branch, a kernel; then without the holds, as the control."""
    before = drivers.packages(login)
    ubuntu.offer_driver("580.178.04")
    ubuntu.offer_driver("610.43.02")
    ubuntu.offer_kernel("6.8.0-145")
    login(UPDATE)
    assert drivers.would_move(login, "dist-upgrade", set(before)) == set()
    assert drivers.moved(drivers.run(box, file)) == []
    assert drivers.packages(login) == before

    login(f"sudo apt-mark unhold {' '.join(before)}")
    assert {"libnvidia-compute-580-server", "linux-generic"} <= drivers.would_move(
        login, "dist-upgrade", set(before)
    )
    assert drivers.moved(drivers.run(box, file)) == [
        "NVIDIA driver | Hold the driver, package by package"
    ]


def test_unattended_upgrades_patch_the_rest_and_leave_the_driver(login: Login, ubuntu: Any) -> None:
    """The real program, with a newer driver and a newer kernel on offer in noble-security."""
    before = drivers.packages(login)
    ubuntu.offer_hello("1.1-1")
    login(UPDATE)
    login(f"sudo apt-mark unhold {' '.join(before)}")  # the list of names alone must do
    said = login(PATCH)
    assert drivers.packages(login, ["deeprig-lab-hello"]) == {"deeprig-lab-hello": "1.1-1"}, said
    assert drivers.packages(login, list(before)) == before

    login(f"sudo apt-mark hold {' '.join(before)}; sudo mv {driver.UPDATES} /root/")
    ubuntu.offer_hello("1.2-1")
    login(UPDATE)
    said = login(PATCH)  # and so must the holds alone
    assert drivers.packages(login, ["deeprig-lab-hello"]) == {"deeprig-lab-hello": "1.2-1"}, said
    assert drivers.packages(login, list(before)) == before

    login(f"sudo apt-mark unhold {' '.join(before)}")
    said = login("sudo unattended-upgrade --dry-run --verbose 2>&1")
    assert "libnvidia-compute-580-server" in said  # the control: without either it would move
    login(
        f"sudo apt-mark hold {' '.join(before)}; sudo mv /root/deeprig-driver.conf {driver.UPDATES}"
    )


def test_another_packages_wish_does_not_move_it(login: Login) -> None:
    said = login("apt-get -s install nvtop")
    assert "Inst nvtop " in said
    assert drivers.would_move(login, "install nvtop", set(drivers.packages(login))) == set()


@pytest.mark.parametrize("name", ["cuda-drivers", "nvidia-open", "libnvidia-compute"])
def test_nvidias_repository_cannot_replace_it(login: Login, name: str) -> None:
    """Without our preferences it could, which is the control."""
    first = "/etc/apt/preferences.d/deeprig-nvidia"
    policy = f"apt-cache policy {name} | grep Candidate"
    ours = login(policy).split()
    login(f"sudo mv {first} /root/")
    without = login(policy).split()
    login(f"sudo mv /root/deeprig-nvidia {first}")
    assert ours == ["Candidate:", "(none)"]
    assert without[1][0].isdigit()


def test_the_metapackage_that_brings_a_driver_cannot_be_had(login: Login) -> None:
    said = login("apt-get -s install cuda-13-0 2>&1", check=False)
    assert "Inst " not in said
    assert "cuda-drivers" in said


def test_what_a_driver_of_both_names_would_be_comes_from_the_archive(login: Login) -> None:
    """libnvidia-compute-580 is in both, and NVIDIA's is the newer one."""
    said = login("apt-cache policy libnvidia-compute-580")
    assert "Candidate: 580.178.04-0ubuntu0.24.04.1\n" in said


def test_updates_of_the_lists_are_silent(login: Login) -> None:
    said = login(f"{UPDATE} 2>&1")
    assert [line for line in said.splitlines() if line[:2] in ("W:", "E:", "N:")] == []


SEEN = "/var/lib/deeprig/driver-waiting.json"
WAITS = "libnvidia-compute-580-server 580.173.02-0ubuntu0.24.04.1 (580.178.04-"


@pytest.fixture
def a_month_later(login: Login) -> Iterator[None]:
    """Fixes that wait were first seen 31 days ago, by apt's own update of its lists."""
    login(f"sudo rm -f {SEEN}; {UPDATE}")
    login(f"sudo cp {SEEN} /root/seen")
    older = f"import json; f = open('{SEEN}'); d = json.load(f); f.close(); "
    older += "json.dump({k: v - 31 * 86400 for k, v in d.items()}, "
    login(f"sudo python3 -c \"{older} open('{SEEN}', 'w'))\"")
    yield
    login(f"sudo mv /root/seen {SEEN}; {UPDATE}")


def at_login(box: boxes.Box) -> str:
    """What a person sees who logs in."""
    ssh, environment = boxes.ssh_command(boxes.get(box.name))
    return subprocess.run(
        [*ssh[:-1], "-tt", ssh[-1]], env=environment, input="exit\n", capture_output=True,
        text=True, timeout=60, check=False,
    ).stdout  # fmt: skip


def test_held_is_not_forgotten_where_no_word_is_sent(
    box: boxes.Box, login: Login, file: Path, a_month_later: None
) -> None:
    """Without notify=: each login says so after apt's next update, and verify does."""
    assert login("ls /etc/systemd/system/deeprig-watch.timer 2>/dev/null || true") == ""
    assert "deeprig: the driver lacks" not in at_login(box)  # the control
    login(UPDATE)
    said = at_login(box)
    found = re.search(r"deeprig: the driver lacks security fixes: (\d+) packages, such as .*", said)
    assert found and int(found[1]) > 3, said
    assert "580.173.02-0ubuntu0.24.04.1 (580.178.04-" in found[0] and "for 31 days" in found[0]
    assert "`deeprig driver upgrade`" in said
    with pytest.raises(AssertionError, match="no fix of the driver has waited for a month"):
        drivers.verified(file)


def test_held_is_not_forgotten_by_notify(
    box: boxes.Box, login: Login, ntfy: Ntfy, request: pytest.FixtureRequest
) -> None:
    """A driver that was deployed and held, and the stand-in for ntfy."""
    login(LOOK)
    assert "the driver lacks security fixes" not in ntfy.titles()  # the control: not a month yet
    request.getfixturevalue("a_month_later")
    login(LOOK)
    [message] = [one for one in ntfy.got if one.title.endswith("the driver lacks security fixes")]
    assert message.text.startswith("Held back, while there are newer ones: ")
    assert WAITS in message.text and "for 31 days" in message.text
    ntfy.got.clear()
    login(LOOK)
    assert ntfy.titles() == []  # once a day is enough


@pytest.fixture
def ntfy(box: boxes.Box) -> Iterator[Ntfy]:
    with listening(box) as made:
        yield made
    assert run_on(box, send_to(None)).error is None


def test_a_kernel_that_came_by_hand_gets_its_modules_or_is_told(
    box: boxes.Box, login: Login, ubuntu: Any, file: Path
) -> None:
    """Somebody installs a newer kernel; the archive has modules for it, or none yet."""
    login(f"{INSTALL} linux-image-6.8.0-145-generic")
    drivers.moved(drivers.run(box, file))
    both = f"{KERNEL} 6.8.0-145-generic"
    assert login(STATE).strip() == f"ok 580.173.02 for {both}"

    ubuntu.offer_kernel_without_modules("6.8.0-147")
    login(f"{UPDATE}; {INSTALL} linux-image-6.8.0-147-generic")
    said = drivers.refused(drivers.run(box, file))
    assert (
        "the archive has no modules of driver 580.173.02 for kernel 6.8.0-147-generic yet" in said
    )
    assert "sudo apt purge linux-image-6.8.0-147-generic" in said
    login("sudo apt-get -qy purge linux-image-6.8.0-147-generic")
    drivers.moved(drivers.run(box, file))


def test_a_box_whose_only_card_is_fake_is_not_called_proved(box: boxes.Box, file: Path) -> None:
    """The driver stands, every check passes, and still nothing was proved of a real card."""
    fake_gpu.put(box, "one-3090", driver="580.173.02")
    changed = drivers.changes(deploy(file))
    assert [name for name in changed if "Wait until" not in name] == [
        f"Manifest | Write {manifest.PATH}"
    ]

    def verify(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DEEPRIG, "verify", "--inventory", str(file), *more],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip

    said = verify("--json")
    checks = json.loads(said.stdout)
    outcomes = {check["outcome"] for check in checks}
    assert not outcomes & {"failed", "unasked"}, [c for c in checks if c["outcome"] == "failed"]
    assert said.returncode == 2
    assert "gpu_live: 0 ran, at least 6 must" in said.stderr
    live = verify("--tier", "live")
    assert live.returncode == 2
    assert "ran on a fake GPU, which proves nothing of a real one" in live.stdout
