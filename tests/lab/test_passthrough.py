"""A card goes to a guest at a boot, and comes back at another: real kernels, a real nested guest.

Stand-ins: the graphics cards, which are QEMU's emulated ones behind a virtual IOMMU; NVIDIA cards
on the bus, pretended for one refusal; the guest's image (tests/lab/tiny_guest). What runs guests is
in the base image already, since installing it on an emulated processor takes far too long. The
guest is emulated where the box is: QEMU 7.2 ends with an assertion (`tcg_handle_interrupt`) where
the processor that it emulates runs a kernel by KVM.
"""

import hashlib
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig import catalog, inventories
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Driver, Guest, Passthrough, Rig
from deeprig_cli.plan import report as plan_report
from deeprig_cli.plan.report import PlanReport
from deeprig_cli.verify import runner
from deploy import build
from lab import boxes
from lab.hardware import Hardware
from lab.stand_ins import server
from tasks import guest, passthrough
from tests import documents
from tests.lab import tiny_guest
from tests.lab.conftest import host_data, wait_for
from tests.lab.test_vm import on

pytestmark = pytest.mark.lab

NAME = "t-passthrough"
HARDWARE = Hardware(memory=2560, iommu=True, pci=("gpu", "gpu", "crowd"))
FIRST, SECOND, NETWORK_CARD = "0000:01:00.0", "0000:02:00.0", "0000:00:04.0"
IN_A_CROWD, STRANGER = "0000:04:01.0", "0000:04:02.0"
# One function of the chipset, all of which share a group.
CHIPSET = "0000:00:1f.3"
FUNCTIONS = (SECOND, "0000:02:00.1")
CARD = ("1234:1111", "8086:293e")  # bochs-display and its sound, standing in
NO_KVM = "/etc/modprobe.d/deeprig-lab.conf"
VIRSH = "sudo virsh --quiet --connect qemu:///system"
NOTHING_ELSE = Rig(
    notebook=None, python=None, driver=None, cuda=None, storage=None, wake_on_lan=None
)  # fmt: skip
SECONDS_FOR_A_GUEST = 2400
LOOK = 30  # seconds: each look is a login, which takes time from the guest


def with_parts(**parts: object) -> Rig:
    known = {name: getattr(NOTHING_ELSE, name) for name in vars(NOTHING_ELSE) if name[0] != "_"}
    return Rig(**(known | parts))


@pytest.fixture(scope="module")
def machine() -> Iterator[boxes.Box]:
    if NAME in [box.name for box in boxes.every()]:
        boxes.down(NAME)
    names = catalog.load("packages")
    packages = (*names["tools"], *names["updates"], *names["guest"], "ufw")
    said: list[str] = []
    box = boxes.up(NAME, kind="vm", hardware=HARDWARE, packages=packages, say=said.append)
    if any(line.startswith("accelerator: tcg") for line in said):
        on(box, f"echo install kvm_amd /bin/false | sudo tee {NO_KVM} && sudo modprobe -r kvm_amd")
    yield box
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_guest.build(tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="module")
def given(machine: boxes.Box, image: Path) -> Iterator[Rig]:
    """Settings that give the second of two identical cards, with a guest whose image is fetched."""
    content = image.read_bytes()
    key = Path(f"{machine.key}.pub").read_text().strip()
    with server.serving() as site:
        site.files["/tiny-guest.qcow2"] = content
        asked = Guest(
            image=f"{site.url}/tiny-guest.qcow2", sha256=hashlib.sha256(content).hexdigest(),
            keys=(key,), name="tiny", processors=1, memory_mib=384, disk_gib=1,
        )  # fmt: skip
        yield with_parts(passthrough=Passthrough(gpus=(SECOND,), guest=asked))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What a person who watches was told."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def deploy(box: boxes.Box, rig: Rig, *, dry: bool = False) -> Report:
    return runs.run(box.name, host_data(box) | {"rig": rig}, build, dry=dry)


def drivers(box: boxes.Box, card: str) -> list[str]:
    """Who has each function of a card."""
    slot = card.partition(".")[0]
    found = f"for d in /sys/bus/pci/devices/{slot}.*; do readlink -f $d/driver; done"
    return [Path(line).name for line in on(box, found).splitlines()]


def console(box: boxes.Box) -> str:
    """What the guest wrote on its serial console."""
    return on(box, "sudo cat /var/log/libvirt/qemu/tiny-console.log || true")


NATIVE = ["bochs-drm", "snd_hda_intel"]


def test_a_box_without_an_iommu_is_refused() -> None:
    """At the beginning, when no other VM is up."""
    name = "t-no-iommu"
    box = boxes.up(name, kind="vm", say=print)
    try:
        report = deploy(box, with_parts(passthrough=Passthrough(gpus=(FIRST,))))
    finally:
        boxes.down(name)
    [said] = report.refusals
    assert said.startswith("Its firmware offers no IOMMU (no ACPI table DMAR or IVRS)")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Passthrough(gpus=(NETWORK_CARD,)), "and the box's network goes through it"),
        (Passthrough(gpus=(IN_A_CROWD,)), f"{STRANGER} (device 1234:11e8) is in IOMMU group "),
        (Passthrough(gpus=(CHIPSET,)), "which is no graphics card"),
        (Passthrough(gpus=("0000:09:00.0",)), "and there is no device; its graphics cards are"),
    ],
)
def test_a_box_that_must_not_is_refused_before_it_is_touched(
    machine: boxes.Box, settings: Passthrough, sentence: str
) -> None:
    report = deploy(machine, with_parts(passthrough=settings))
    [said] = report.refusals
    assert sentence in said
    assert report.steps == []


def test_the_last_card_that_the_box_computes_with_is_kept(machine: boxes.Box) -> None:
    """The stand-in is pretended to be NVIDIA's for as long as the question lasts."""
    folder = "/etc/deeprig-lab-gpu"
    on(
        machine,
        f"sudo sh -c 'mkdir {folder}; echo pretended > {folder}/profile; echo pretended > "
        f"/etc/deeprig-lab; echo {SECOND} 10de:2204 030000 > {folder}/cards'",
    )
    last = with_parts(driver=Driver(), passthrough=Passthrough(gpus=(SECOND,)))
    report = deploy(machine, last)
    on(machine, f"sudo rm -r {folder} /etc/deeprig-lab")
    [said] = report.refusals
    assert said.startswith("Passthrough.gpus takes the box's last NVIDIA card")


def test_the_plan_says_what_would_go_and_what_stays(machine: boxes.Box, given: Rig) -> None:
    report = deploy(machine, given, dry=True)
    said = plan_report.page(PlanReport(report=report, rig=given), plan_report.date.today())
    assert report.error is None, said
    assert f"{SECOND} (display 1234:1111), IOMMU group " in said
    assert f"{NATIVE[0]} has it now, vfio-pci from the next boot on" in said
    assert f"{FIRST} (display 1234:1111) is of the same model and stays" in said


def test_a_deploy_gives_nothing_away_before_the_boot(
    machine: boxes.Box, given: Rig, said: Callable[[], str]
) -> None:
    report = deploy(machine, replace(given, reboot="never"))
    assert report.error is None, failed(report)
    assert drivers(machine, SECOND) == NATIVE
    assert on(machine, f"{VIRSH} domstate tiny") == "shut off"
    waiting = ", ".join(f"{function} to vfio-pci" for function in FUNCTIONS)
    assert f"cards change hands at it ({waiting})" in said()


def failed(report: Report) -> str:
    steps = (f"{step.name}: {step.output}" for step in report.steps if step.status == "failed")
    return "\n".join([str(report.error), *steps])


def test_the_next_deploy_makes_the_boot_and_vfio_has_the_card_and_not_its_twin(
    machine: boxes.Box, given: Rig
) -> None:
    report = deploy(machine, given)
    assert report.error is None, failed(report)
    assert drivers(machine, SECOND) == ["vfio-pci", "vfio-pci"]
    assert drivers(machine, FIRST) == NATIVE
    said = on(machine, "sudo dmesg")
    sign = "Initialized bochs-drm .* for {}"
    assert re.search(sign.format(FIRST), said)  # the control: that is how the kernel says it
    assert not re.search(sign.format(SECOND), said)  # not even for a moment
    assert "iommu=pt" in on(machine, "cat /proc/cmdline").split()


def test_the_guest_comes_up_by_itself_and_sees_the_card(machine: boxes.Box) -> None:
    wait_for(lambda: "ADDRESS" in console(machine), SECONDS_FOR_A_GUEST, every=LOOK)
    seen = re.findall(r"ON THE BUS \S+ 0x(\w{4}):0x(\w{4})", console(machine))
    ids = [":".join(found) for found in seen]
    assert [ids.count(pci_id) for pci_id in CARD] == [1, 1]


def test_the_guest_has_its_address_from_the_box_with_the_firewall_on(machine: boxes.Box) -> None:
    assert "Status: active" in on(machine, "sudo ufw status")
    assert re.search(r"192\.168\.122\.\d+/24", on(machine, f"{VIRSH} domifaddr tiny"))


def test_the_users_key_gets_into_the_guest(machine: boxes.Box) -> None:
    wait_for(lambda: "SSH LISTENS" in console(machine), SECONDS_FOR_A_GUEST, every=LOOK)
    found = re.search(r"192\.168\.122\.\d+", on(machine, f"{VIRSH} domifaddr tiny"))
    assert found
    # `ssh -J`, as docs/passthrough.md has it, with files of its own instead of ~/.ssh.
    common = f"-i {machine.key} -o BatchMode=yes -o ConnectTimeout=300"
    jump = (
        f"ssh {common} -o UserKnownHostsFile={machine.known_hosts} -W %h:%p deeprig@{machine.host}"
    )
    done = subprocess.run(
        ["ssh", "-F", "none", *common.split(), "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", f"ProxyCommand={jump}",
         f"ai@{found[0]}", "echo in as $USER"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "in as ai\n"), done.stderr


def test_verify_finds_nothing_wrong(machine: boxes.Box, given: Rig, tmp_path: Path) -> None:
    file = tmp_path / "inventory.py"
    file.write_text(with_rig(machine.inventory.read_text(), given))
    found = runner.run(inventories.load(file), "functional", lambda _: None, ["passthrough"])
    assert len(found) >= 9
    assert [(c.check, c.reason) for c in found if c.outcome in ("failed", "unasked")] == []


def with_rig(inventory: str, rig: Rig) -> str:
    """The lab's inventory of one box, with these settings."""
    text, count = re.subn(
        r"rig=Rig\(\n.*\n        \),", lambda _: f"rig={rig!r},", inventory, flags=re.S
    )
    assert count == 1
    return text.replace(
        "from deeprig.settings import",
        "from deeprig.settings import *\nfrom deeprig.settings import",
    )


def test_the_same_deploy_again_changes_nothing(machine: boxes.Box, given: Rig) -> None:
    report = deploy(machine, given)
    assert report.error is None, failed(report)
    assert report.changes == []


def test_another_card_waits_for_a_boot_that_would_end_the_guest(
    machine: boxes.Box, given: Rig, said: Callable[[], str]
) -> None:
    assert given.passthrough
    both = replace(given.passthrough, gpus=(FIRST, SECOND))
    report = deploy(machine, replace(given, passthrough=both))
    assert report.error is None, failed(report)
    assert f"A reboot is owed: cards change hands at it ({FIRST} to vfio-pci" in said()
    assert "there runs guest tiny" in said()
    assert drivers(machine, FIRST) == NATIVE
    assert on(machine, f"{VIRSH} domstate tiny") == "running"


def test_leaving_it_out_leaves_it_alone(machine: boxes.Box) -> None:
    report = deploy(machine, NOTHING_ELSE)
    assert report.error is None, failed(report)
    on(machine, f"ls {passthrough.LIST} {passthrough.HOOK}")


def test_it_is_taken_back(machine: boxes.Box) -> None:
    absent = with_parts(absent={"passthrough"})
    report = deploy(machine, absent)
    assert report.error is None, failed(report)
    # An emulated guest in an emulated box may take longer than a deploy waits; the next goes on.
    wait_for(
        lambda: on(machine, f"{VIRSH} domstate tiny") == "shut off",
        SECONDS_FOR_A_GUEST,
        every=LOOK,
    )
    report = deploy(machine, absent)
    assert report.error is None, failed(report)
    assert drivers(machine, FIRST) == NATIVE
    assert drivers(machine, SECOND) == NATIVE
    assert "iommu=pt" not in on(machine, "cat /proc/cmdline").split()
    assert on(machine, f"{VIRSH} domstate tiny") == "shut off"
    assert on(machine, f"{VIRSH} list --all --name").split() == ["tiny"]
    assert on(machine, f"{VIRSH} list --autostart --name") == ""
    left = (passthrough.LIST, passthrough.HOOK, passthrough.GRUB, guest.ASKED)
    on(machine, f"! ls {' '.join(left)} 2>/dev/null | grep .")
    assert deploy(machine, absent).changes == []


def test_the_document_says_how_what_is_left_goes(machine: boxes.Box) -> None:
    lines = documents.lines(documents.TOP / "docs/passthrough.md")
    removal = [line for line in lines if line.startswith("sudo ")]
    assert len(removal) == 3
    for line in removal:
        words = line.replace("guest.qcow2", "tiny.qcow2").replace("guest-seed", "tiny-seed")
        words = words.replace("--nvram guest", "--nvram tiny").replace("apt ", "apt -y ")
        on(machine, words, seconds=1200)  # apt on an emulated processor
    on(machine, "! command -v virsh")
    images = "/var/lib/libvirt/images/tiny"
    on(machine, f"sudo sh -c '[ ! -e {images}.qcow2 ] && [ ! -e {images}-seed.iso ]'")
