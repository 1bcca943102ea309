"""`deeprig driver status|upgrade|rollback`: moved, proved, taken back, and cut off in the middle.

Stand-ins, each labelled: NVIDIA's repository and the kernel (lab/stand_ins; the modules really
build, by DKMS), a card whose module loads at boot (lab/dressings/card), and for a machine's reboot
the container's.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import boxes
from lab.stand_ins import nvidia_repository, ubuntu_archive
from lab.stand_ins.nvidia_repository import Repository
from tests.lab.conftest import DEEPRIG, ROOT, deploy, variant, wait_for

pytestmark = pytest.mark.lab

Login = Callable[..., str]
OLD, NEW, BROKEN, OTHER = "580.173.02", "580.178.04", "580.190.01", "595.91.07"
MOVE = "sudo /usr/local/lib/deeprig/current/deeprig-box driver-move"
CARD = ROOT / "lab/dressings/card/lab-card"
INSTALL = "sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install"
KERNEL = "6.8.0-142"


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    """An ubuntu-like box, since names change between branches only in NVIDIA's for Ubuntu."""
    name = "t-upgrade-ub"
    if name in [old.name for old in boxes.every()] and not os.environ.get("KEEP"):
        boxes.down(name)
    yield boxes.up(name, os="ubuntu-like")
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture(scope="module")
def login(box: boxes.Box) -> Login:
    """Run a command on the box as the deploy user."""

    def run(command: str, *, check: bool = True, stdin: str = "") -> str:
        ssh, environment = boxes.ssh_command(boxes.get(box.name))
        done = subprocess.run(
            [*ssh, command], env=environment, input=stdin, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-3000:]}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def nvidia(box: boxes.Box) -> Iterator[Repository]:
    with nvidia_repository.serve(["ubuntu2404"], [OLD]) as repository:
        yield repository


@pytest.fixture(scope="module")
def inventory(box: boxes.Box, nvidia: Repository) -> Path:
    """The box with a driver from NVIDIA's repository, and without what other lanes look at."""
    driver = (
        f'driver=Driver(gpus=("10de:2204",), source="nvidia", mirror="{nvidia.url}", '
        f'repo_key="{nvidia.fingerprint("ubuntu2404")}"), cuda=None, wake_on_lan=None'
    )
    return variant(
        box,
        box.inventory.with_name("upgrade.py"),
        ("import Notebook,", "import Driver, Notebook,"),
        ('notebook=Notebook(user="ai")', f"notebook=None, {driver}"),
        ('python=Python(python="system")', "python=None"),
    )


@pytest.fixture(scope="module")
def deployed(box: boxes.Box, inventory: Path, login: Login) -> Iterator[None]:
    """A box with a kernel, the driver, and the stand-in for a card that is in use."""
    with ubuntu_archive.serve([], [KERNEL]) as ubuntu:
        login("sudo sh", stdin=ubuntu.setup)
        login(f"sudo apt-get -q update && {INSTALL} linux-generic dkms")
        login(f"echo stand-in | sudo tee /boot/initrd.img-{KERNEL}-generic >/dev/null")
        # What the kernel's stand-in needs later is on the box; its archive goes with this block.
        done = deploy(inventory)
        assert done.returncode == 0, done.stdout + done.stderr
        # A real kernel has modules of its own; without one DKMS takes modules.dep away.
        modules = f"/lib/modules/{KERNEL}-generic"
        login(f"sudo mkdir -p {modules}/kernel")
        login(f"sudo cp {modules}/updates/dkms/nvidia-uvm.ko {modules}/kernel/loop.ko")
        login("sudo tee /usr/local/sbin/lab-card >/dev/null", stdin=CARD.read_text())
        login("sudo sh /usr/local/sbin/lab-card install")
        yield


def verb(inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`deeprig driver WORDS`."""
    return subprocess.run(
        [DEEPRIG, "driver", *words, "--inventory", str(inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


def standing(inventory: Path) -> dict[str, Any]:
    done = verb(inventory, "status", "--json")
    assert done.returncode in (0, 1), done.stderr
    [found] = json.loads(done.stdout)
    return dict(found)


def whole(login: Login, inventory: Path, version: str) -> dict[str, Any]:
    """Nothing is wrong, with that version: loaded, on disk, held, dpkg clean."""
    found = standing(inventory)
    assert found["wrong"] == []
    assert found["driver"] == version
    assert found["facts"]["loaded"]["version"] == version
    assert login("sudo dpkg --audit") == ""
    return found


def boot_id(login: Login) -> str:
    return login("cat /proc/sys/kernel/random/boot_id").strip()


def test_a_fresh_driver_is_all_of_one_piece(deployed: None, inventory: Path, login: Login) -> None:
    found = whole(login, inventory, OLD)
    assert found["facts"]["move"]["step"] == ""
    assert "all of one piece" in verb(inventory, "status").stdout


def test_what_is_newer_is_said_and_moves_nothing(
    deployed: None, inventory: Path, nvidia: Repository, login: Login
) -> None:
    nvidia.offer(NEW)
    nvidia.offer(OTHER)
    login("sudo apt-get -q update")
    assert "nvidia" not in login("apt-get -s dist-upgrade | grep ^Inst || true")
    found = standing(inventory)
    assert found["offered"] == {"580": NEW, "595": OTHER}
    assert found["wrong"] == []
    assert any(note.startswith(f"{NEW} waits for you since") for note in found["notes"])


def test_an_upgrade_is_refused_while_something_runs(
    deployed: None, inventory: Path, login: Login
) -> None:
    login("setsid nohup sleep 600 >/dev/null 2>&1 </dev/null & echo $! >/tmp/sleeper")
    done = verb(inventory, "upgrade")
    login("pkill -f '^sleep 600'")
    assert done.returncode == 2
    assert "sleep of deeprig" in done.stderr
    assert "Traceback" not in done.stderr
    whole(login, inventory, OLD)


def test_a_branch_that_is_not_to_be_had_is_refused(
    deployed: None, inventory: Path, login: Login
) -> None:
    done = verb(inventory, "upgrade", "--branch", "535")
    assert done.returncode == 2
    assert "Driver.branch is '535'" in done.stderr
    assert "Traceback" not in done.stderr
    whole(login, inventory, OLD)


def test_an_upgrade_moves_it_and_proves_it_after_a_reboot(
    deployed: None, inventory: Path, login: Login
) -> None:
    before = boot_id(login)
    done = verb(inventory, "upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"driver {OLD} moved to {NEW}, verified" in done.stdout
    assert boot_id(login) != before
    found = whole(login, inventory, NEW)
    assert found["facts"]["holds"]["needless"] == []
    assert found["facts"]["way_back"]["version"] == OLD
    assert found["facts"]["way_back"]["lacking"] == []
    kept = login("ls /var/lib/deeprig/driver-debs").split()
    assert sorted(kept) == [OLD, NEW]


def test_the_next_deploy_changes_nothing(deployed: None, inventory: Path) -> None:
    done = deploy(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    operations = re.findall(r"Starting operation: (.+?) *\n\s+\[\S+\] Success", text)
    # The stand-in for a card has no device for the daemon; the manifest says so each time.
    assert [name for name in operations if not name.startswith(("GPU settings", "Manifest"))] == []


def test_another_upgrade_has_nothing_to_move(deployed: None, inventory: Path, login: Login) -> None:
    before = boot_id(login)
    done = verb(inventory, "upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing moved" in done.stdout
    assert boot_id(login) == before
    assert standing(inventory)["facts"]["way_back"]["version"] == OLD


def test_rollback_needs_no_repository(
    deployed: None, inventory: Path, nvidia: Repository, login: Login
) -> None:
    nvidia.withdraw(OLD)  # archives drop old builds
    asked = len(nvidia.site.asked)
    done = verb(inventory, "rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"driver {OLD} is back, verified" in done.stdout
    assert nvidia.site.asked[asked:] == []
    found = whole(login, inventory, OLD)
    assert found["facts"]["way_back"] == {}
    assert done.stdout.count("\n") == 1
    again = verb(inventory, "rollback")
    assert again.returncode == 2
    assert "nothing to go back to" in again.stderr


def test_to_the_next_branch_with_its_other_names_and_back(
    deployed: None, inventory: Path, login: Login
) -> None:
    names = login("apt-mark showhold").split()
    assert "libnvidia-compute-580" in names
    done = verb(inventory, "upgrade", "--branch", "595")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'write Driver(branch="595")' in done.stdout
    found = whole(login, inventory, OTHER)
    assert "libnvidia-compute" in found["facts"]["holds"]["held"]
    assert not [name for name in found["facts"]["packages"] if "580" in name]
    assert "595." in login("cat /etc/apt/preferences.d/nvidia-driver-pin")

    done = verb(inventory, "rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    whole(login, inventory, OLD)
    assert login("apt-mark showhold").split() == names
    assert "580." in login("cat /etc/apt/preferences.d/nvidia-driver-pin")


def test_modules_that_do_not_build_are_taken_back(
    deployed: None, inventory: Path, nvidia: Repository, login: Login
) -> None:
    held, before = login("apt-mark showhold"), boot_id(login)
    nvidia.offer(BROKEN, fails_for="%")
    done = verb(inventory, "upgrade")
    nvidia.withdraw(BROKEN)
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    assert "the driver's modules do not build" in done.stdout
    assert f"driver {OLD} is back and held" in done.stdout
    assert "Traceback" not in done.stderr
    whole(login, inventory, OLD)
    assert login("apt-mark showhold") == held
    assert boot_id(login) == before


def test_a_module_that_does_not_load_after_the_reboot_is_taken_back(
    deployed: None, inventory: Path, login: Login
) -> None:
    """The stand-in for the card goes on loading the old one."""
    login(f"echo {OLD} | sudo tee /etc/lab-card-loads >/dev/null")
    done = verb(inventory, "upgrade")
    login("sudo rm /etc/lab-card-loads")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"driver {OLD} is back and held" in done.stdout
    whole(login, inventory, OLD)


def test_what_does_not_verify_is_taken_back(deployed: None, inventory: Path, login: Login) -> None:
    """A hook of apt that bends a library stands for whatever only the checks find.

    Nobody has one of the old packages any more: it is packed anew, and comes back.
    """
    login(f"sudo rm /var/lib/deeprig/driver-debs/{OLD}/libnvidia-compute-580_*")
    hook = "/etc/apt/apt.conf.d/99bends"
    bend = "ln -sfn libcuda.so.0 /usr/lib/$(uname -m)-linux-gnu/libcuda.so.1"
    login(f"""echo 'DPkg::Post-Invoke {{ "{bend}"; }};' | sudo tee {hook} >/dev/null""")
    done = verb(inventory, "upgrade", "--json")
    login(f"sudo rm {hook}")
    assert done.returncode == 1, done.stdout + done.stderr
    [outcome] = json.loads(done.stdout)
    assert outcome["failed"] == ["libraries and modules have one version"]
    assert (outcome["step"], outcome["after"], outcome["good"]) == ("back", OLD, False)
    assert "it did not verify: libraries and modules have one version" in outcome["sentence"]
    whole(login, inventory, OLD)


def begun(
    inventory: Path, box: boxes.Box, said: str = "Install driver", log: str = "driver-move"
) -> subprocess.Popen[bytes]:
    """An upgrade that has come so far that the log says this.

    Read from the box's disk: a login now and then would be somebody who works there, or too many.
    """
    file = box.upper / f"var/log/deeprig/{log}.log"

    def count() -> int:
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return sum(line.startswith(said) for line in lines)

    seen = count()
    verb_of = [DEEPRIG, "driver", "upgrade", "--inventory", str(inventory)]
    going = subprocess.Popen(
        verb_of, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: count() > seen, 300)
    return going


def ended(box: boxes.Box, *steps: str) -> bool:
    file = box.upper / "var/lib/deeprig/driver-move/record.json"
    return json.loads(file.read_text())["step"] in steps


def test_it_ends_by_itself_where_the_machine_that_asked_is_gone(
    deployed: None, inventory: Path, box: boxes.Box, login: Login
) -> None:
    going = begun(inventory, box)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    wait_for(lambda: ended(box, "moved"), 180)
    found = whole(login, inventory, NEW)
    assert found["facts"]["move"]["verified"] is False
    assert verb(inventory, "rollback").returncode == 0


def test_a_power_cut_in_the_middle_goes_back_at_the_next_boot(
    deployed: None, inventory: Path, box: boxes.Box, login: Login
) -> None:
    """Old packages are gone, new ones unpacked, and their modules not built."""
    going = begun(inventory, box, "Setting up nvidia-kernel-common", "driver")
    boxes.cut(box.name)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    done = verb(inventory, "status")
    assert done.returncode in (0, 1), done.stderr
    wait_for(lambda: ended(box, "back", "stuck"), 180)
    found = whole(login, inventory, OLD)
    assert "cut off in the middle" in found["facts"]["move"]["why"]


def test_a_reboot_that_is_left_is_said_and_proved_when_it_comes(
    deployed: None, inventory: Path, box: boxes.Box, login: Login
) -> None:
    done = verb(inventory, "upgrade", "--no-reboot")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"driver {NEW} is installed, and a reboot is owed" in done.stdout
    said = verb(inventory, "status")
    assert said.returncode == 1
    assert f"driver {OLD} is loaded, {NEW} installed" in said.stdout
    boxes.reboot(box.name)
    wait_for(lambda: ended(box, "moved"), 180)
    whole(login, inventory, NEW)
    assert verb(inventory, "rollback").returncode == 0


def test_a_driver_that_somebody_moved_is_told_with_the_line_of_the_log(
    deployed: None, inventory: Path, login: Login
) -> None:
    """The classic: a library moves under a loaded module. Here by hand, with the hold let go."""
    library = "libnvidia-compute-580"
    login("sudo apt-mark unhold '*nvidia*' >/dev/null; sudo apt-get -q update")
    login("sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy upgrade")
    done = verb(inventory, "status")
    assert done.returncode == 1
    assert f"driver {OLD} is loaded, {NEW} installed" in done.stdout
    assert "apt-get -qy upgrade" in done.stdout
    assert "/var/log/apt/history.log" in done.stdout
    found = standing(inventory)
    assert any(library in sentence for sentence in found["wrong"])
