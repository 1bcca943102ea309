"""The distribution's own driver, for a card that is not there: real packages, modules and kernels.

The box is a container with a kernel package installed, so what a boot would find is all there and
nothing is loaded. On Debian 13 the archive's driver may build or not; both must end well.
"""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig.facts.survey import Survey
from deeprig.settings import Driver, Rig
from lab import boxes
from tasks import base, driver
from tests.lab.conftest import DEEPRIG, ROOT, deploy, run_on, variant
from tests.lab.drivers import INSTALL, RTX_3090, STATE, Login, on

pytestmark = pytest.mark.lab

DRIVER = f'Driver(gpus=("{RTX_3090}",), source="distro")'
BRANCHES = {"debian-12": "535", "debian-13": "550"}


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Path:
    """The box's own inventory with a driver, and without what other lanes look at."""
    return variant(
        box,
        box.inventory.with_name("driver.py"),
        ("import Notebook,", "import Driver, Notebook,"),
        ('notebook=Notebook(user="ai")', f"notebook=None, cuda=None, driver={DRIVER}"),
        ('python=Python(python="system")', "python=None"),
    )


@pytest.fixture(scope="module")
def deployed(box: boxes.Box, inventory: Path) -> subprocess.CompletedProcess[str]:
    """The first deploy, to a box with a kernel as a real one has; and what it said."""
    on(box, f"sudo apt-get -q update && {INSTALL} linux-image-amd64 initramfs-tools")
    return deploy(inventory)


@pytest.fixture
def built(deployed: subprocess.CompletedProcess[str]) -> None:
    if deployed.returncode and "the driver's modules do not build" in deployed.stderr:
        pytest.skip("the archive's driver does not build for the archive's kernel just now")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr


@pytest.fixture
def failed(deployed: subprocess.CompletedProcess[str]) -> str:
    """What was said on stderr where the modules did not build."""
    if deployed.returncode == 0:
        pytest.skip("the archive's driver builds for the archive's kernel")
    return deployed.stdout + deployed.stderr


def test_it_is_there_whole_or_not_at_all(
    box: boxes.Box, deployed: subprocess.CompletedProcess[str], login: Login
) -> None:
    state = login(STATE).strip()
    held = login("apt-mark showhold").split()
    assert login("sudo dpkg --audit") == ""
    assert login("systemctl list-units --failed --plain --no-legend") == ""
    if deployed.returncode == 0:
        assert state.startswith(f"ok {BRANCHES[box.os]}.")
        assert "libcuda1" in held
    else:
        assert state.startswith("not installed: ")
        assert "nvidia" not in login("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
        assert held == []
    if box.os == "debian-12":
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr


def test_a_second_deploy_changes_nothing(built: None, inventory: Path) -> None:
    again = deploy(inventory)
    assert again.returncode == 0
    assert "[" in again.stdout + again.stderr  # it did talk
    assert "] Success" not in again.stdout + again.stderr


def test_it_verifies(built: None, inventory: Path) -> None:
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_nothing_moves_it_though_a_newer_one_is_offered(
    built: None, box: boxes.Box, login: Login
) -> None:
    """Each of the two locks by itself, and neither as the control; a part with two versions."""
    part = "nvidia-modprobe"
    offered = login(f"apt-cache madison {part}").splitlines()
    versions = list(dict.fromkeys(line.split("|")[1].strip() for line in offered))
    if len(versions) < 2:
        pytest.skip("the archive has one version of everything just now, so nothing is newer")
    newest, older = versions[0], versions[-1]
    login(f"sudo apt-mark unhold {part}; {INSTALL} --allow-downgrades {part}={older}")

    updates = "sudo unattended-upgrade --dry-run --debug 2>&1 | grep '^Packages that' || true"
    upgrade = "apt-get -s upgrade | grep '^Inst' || true"
    login(f"sudo mv {driver.UPDATES} /root/")
    assert part in login(updates)  # the control
    assert f"Inst {part} " in login(upgrade)
    login(f"sudo apt-mark hold {part}")
    assert f"Inst {part} " not in login(upgrade)
    login(f"sudo apt-mark unhold {part}; sudo mv /root/deeprig-driver.conf {driver.UPDATES}")
    assert part not in login(updates)

    login(f"{INSTALL} {part}={newest} && sudo apt-mark hold {part}")
    assert run_on(box, only_the_driver()).changes == []


def test_another_packages_wish_does_not_move_it(built: None, login: Login) -> None:
    said = login("apt-get -s install nvtop")
    assert "Inst nvtop " in said
    moved = [line for line in said.splitlines() if line.startswith("Inst ") and " [" in line]
    assert [line for line in moved if "nvidia" in line or "libcuda" in line] == []


def test_a_module_that_is_gone_is_built_again(built: None, box: boxes.Box, login: Login) -> None:
    kernel = login("ls /lib/modules | tail -n 1").strip()
    name, version = login("sudo dkms status").split(",")[0].strip().split("/")
    login(f"sudo dkms uninstall -m {name} -v {version} -k {kernel}")
    assert f"there is no {name} for kernel {kernel}" in login(
        "sudo /usr/local/lib/deeprig/current/deeprig-box driver-set state"
    )
    report = run_on(box, only_the_driver())
    assert report.error is None
    assert report.changes == ["NVIDIA driver | Install the driver, with modules for every kernel"]
    assert login(f"sudo modinfo -k {kernel} -F version {name}").strip() == version
    assert run_on(box, only_the_driver()).changes == []


def test_the_kernel_that_would_boot_next_is_the_one_that_counts(
    built: None, box: boxes.Box, login: Login
) -> None:
    """A newer kernel without headers, such as one that came overnight: here only its file."""
    newer = "9.9.9-1-amd64"
    login(f"sudo touch /boot/vmlinuz-{newer}")
    report = run_on(box, only_the_driver())
    login(f"sudo rm /boot/vmlinuz-{newer}")
    assert report.error
    [said] = [step.output for step in report.steps if step.status == "failed"]
    assert f"no headers for the newest installed kernel, {newer}" in said
    assert "apt full-upgrade" in said
    assert run_on(box, only_the_driver()).changes == []  # the control


def test_a_second_kernel_counts_for_the_gate_before_a_reboot(
    built: None, box: boxes.Box, login: Login
) -> None:
    """The cloud flavour of the same kernel, first without headers, then with: a real build."""
    gate = "sudo /usr/local/lib/deeprig/current/deeprig-box reboot-gate check 2>&1"
    first = login("ls /lib/modules | tail -n 1").strip()
    second = first.replace("-amd64", "-cloud-amd64")
    assert login(gate).strip() == f"ok {first}"
    on(box, f"{INSTALL} linux-image-cloud-amd64")
    said = login(gate, check=False)
    assert said.startswith(f"No reboot: kernel {second} boots next, and ")
    assert f"for kernel {second}" in said
    on(box, f"{INSTALL} linux-headers-cloud-amd64")
    assert login(gate).strip() == f"ok {second}"
    assert f"for {first} {second}" in login(
        "sudo /usr/local/lib/deeprig/current/deeprig-box driver-set state"
    )


def test_a_failed_build_is_told_in_one_sentence_with_the_end_of_its_log(failed: str) -> None:
    lines = [line for line in failed.splitlines() if "the driver's modules do not build (" in line]
    assert len(set(lines)) == 1
    assert "what came was taken out again, and the box is as before" in lines[0]
    assert "error: " in failed
    assert "Traceback" not in failed


def test_after_a_failed_build_all_else_goes_on(failed: str, inventory: Path, login: Login) -> None:
    login("true")
    assert "hello" in login("sudo apt-get -s install hello")
    assert (
        login("find /etc/modprobe.d -name '50-deeprig*'") == ""
    )  # nouveau may still drive a screen
    login("test -s /var/log/deeprig/driver-make.log")
    without = inventory.with_name("without.py")
    without.write_text(inventory.read_text().replace(DRIVER, "None"))
    done = deploy(without)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_install_that_was_cut_off_is_mended_by_the_next_run(
    failed: str, box: boxes.Box, login: Login
) -> None:
    """dpkg as a power cut leaves it: unpacked, not configured, and what came is on record."""
    login("cd /tmp && apt-get -q download nvidia-persistenced 2>&1")
    login("sudo sh -c 'echo nvidia-persistenced > /var/lib/deeprig/driver-came'")
    login("sudo dpkg --force-depends --unpack /tmp/nvidia-persistenced_*.deb")
    assert login("sudo dpkg --audit")
    report = run_on(box, lambda rig: base.have_apt_ready(survey=surveyed(rig)))
    assert report.error is None
    assert login("sudo dpkg --audit") == ""
    assert login("ls /var/lib/deeprig/driver-came", check=False) == ""


def surveyed(rig: Rig) -> Survey:
    survey = base.survey(rig=rig)
    assert survey is not None
    return survey


def only_the_driver() -> Callable[[Rig], None]:
    def changed(rig: Rig) -> None:
        asked = replace(
            rig,
            driver=Driver(gpus=(RTX_3090,), source="distro"),
            cuda=None,
            notebook=None,
            python=None,
        )
        survey = base.survey(rig=asked)
        plan = base.decide(rig=asked, survey=survey) if survey else None
        assert plan is not None
        base.have_program()
        driver.install(plan=plan, rig=asked)

    return changed


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ("10de:2b85", "GeForce RTX 5090 (10de:2b85) needs driver 570 or newer"),
        ("10de:102d", "ends with driver 470"),
        ("10de:ffff", "10de:ffff is in no table that deeprig has"),
    ],
)
def test_a_card_that_cannot_work_is_refused_before_anything_is_touched(
    box: boxes.Box, inventory: Path, card: str, sentence: str
) -> None:
    other = inventory.with_name("refused.py")
    other.write_text(inventory.read_text().replace(RTX_3090, card))
    done = deploy(other)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Starting operation" not in done.stdout + done.stderr
