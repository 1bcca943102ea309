"""What a run does to give cards away and to take them back; what binds them; the guest's form."""

import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deeprig import tree
from deeprig.facts import passthrough as cards
from deeprig.facts.pci import Bus
from deeprig.operations import files
from deeprig.runner import runs
from deeprig.settings import Passthrough, Rig
from deeprig.settings.passthrough import Guest
from tasks import guest, passthrough
from tests.unit.test_passthrough import FIRST, GUEST, box, rig, without_groups

BIND = tree.ROOT / "box/bin/passthrough-bind"


def plan(settings: Passthrough | None, bus: Bus) -> list[str]:
    """What a run would do, in order, to a box that answers nothing else."""
    data: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}

    def build(rig: Rig) -> None:
        if settings:
            passthrough.give(settings=settings, bus=bus)
        else:
            passthrough.take_back(bus=bus)

    report = runs.run("@fake/rig1", data, build, dry=True)
    assert report.error is None
    return [step.name.removeprefix("Passthrough | ") for step in report.steps]


def test_the_boot_gives_the_cards_away_before_the_guest_is_defined() -> None:
    names = plan(rig().passthrough, box().bus)
    assert names == [
        f"Write {passthrough.HOOK}",
        f"Write {passthrough.BEFORE_UDEV}",
        "Write /etc/systemd/system/deeprig-passthrough.service",
        f"Have systemd read {passthrough.UNIT}",
        f"Write {passthrough.LIST}",
        f"Write {passthrough.GRUB}",
        "Have the initramfs know the list",
        "Have GRUB's menu follow its settings",
        "Give the cards away at every boot",
        f"No {passthrough.WHEN_IDLE}",
        "Guest | Install what runs guests",
        f"Guest | Write {guest.DEFINITION}",
        f"Guest | Write {guest.SEED[0]}",
        f"Guest | Write {guest.SEED[1]}",
        f"Guest | Write {guest.ASKED}",
        "Guest | Have the guest defined, and running where its cards are there",
        "Say what comes after the reboot",
    ]


def test_idle_cards_go_before_the_guest_is_begun() -> None:
    settings = rig().passthrough
    assert settings
    names = plan(replace(settings, hand_over="when-idle"), box().bus)
    steps = [f"Write {passthrough.WHEN_IDLE}", "Have idle cards change hands now"]
    at = names.index(steps[0])
    assert names[at : at + 3] == [*steps, "Guest | Install what runs guests"]
    assert names.index(f"Write {passthrough.LIST}") < at


def test_without_groups_only_the_iommu_is_asked_for() -> None:
    names = plan(rig().passthrough, without_groups().bus)
    assert "Have GRUB's menu follow its settings" in names
    assert not any(name.startswith("Guest") for name in names)
    assert files.render(passthrough.LIST, devices=()).count("10de") == 0


def test_a_box_that_never_gave_anything_is_left_alone() -> None:
    assert plan(None, box().bus) == []


def test_taking_back_goes_on_until_the_list_itself_is_gone() -> None:
    names = plan(None, replace(box().bus, was_in=True, guest_there=True, given=((FIRST, "x:y"),)))
    assert names[:2] == ["Stop the guest, and leave it defined", f"Write {passthrough.LIST}"]
    assert names[-1] == f"No {passthrough.LIST}"
    assert names.index("Have the initramfs know the list") < names.index(f"No {passthrough.HOOK}")
    assert not any("qcow2" in name for name in names)


def test_the_list_has_each_function_with_what_it_must_be() -> None:
    settings = rig().passthrough
    assert settings
    text = files.render(passthrough.LIST, devices=cards.devices(box().bus, settings))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["0000:41:00.0 10de:2204", "0000:41:00.1 10de:1aef"]


def domain(settings: Guest) -> ElementTree.Element:
    given = rig().passthrough
    assert given
    values = guest.values(settings, cards.devices(box().bus, given), identity="rig1/guest")
    return ElementTree.fromstring(files.render(guest.DEFINITION, **values))


def test_the_guest_has_every_given_function_and_libvirt_binds_none() -> None:
    found = domain(GUEST)
    addresses = [entry.attrib for entry in found.findall("devices/hostdev/source/address")]
    assert addresses == [
        {"domain": "0x0000", "bus": "0x41", "slot": "0x00", "function": f"0x{n}"} for n in (0, 1)
    ]
    assert {entry.get("managed") for entry in found.findall("devices/hostdev")} == {"no"}
    assert found.findtext("sysinfo/entry") == "65536"


def test_a_guest_of_one_box_and_name_is_always_the_same() -> None:
    assert domain(GUEST).findtext("uuid") == domain(GUEST).findtext("uuid")
    mac = domain(GUEST).find("devices/interface/mac")
    assert mac is not None and mac.attrib["address"].startswith("52:54:00:")


@pytest.mark.parametrize(("driver", "hidden"), [(None, False), ("465", False), ("460", True)])
def test_the_virtual_machine_is_hidden_only_from_old_drivers(
    driver: str | None, hidden: bool
) -> None:
    found = domain(replace(GUEST, driver=driver))
    assert (found.find("features/kvm/hidden") is not None) is hidden


def test_processors_and_huge_pages_are_tied_where_that_is_asked() -> None:
    assert domain(GUEST).find("cputune") is None
    assert domain(GUEST).find("memoryBacking") is None
    tied = domain(replace(GUEST, processors=2, pin=(6, 14), huge_pages=True))
    pins = [(pin.get("vcpu"), pin.get("cpuset")) for pin in tied.findall("cputune/vcpupin")]
    assert pins == [("0", "6"), ("1", "14")]
    assert tied.find("memoryBacking/hugepages") is not None


def test_the_seed_lets_the_key_in_and_no_password() -> None:
    text = files.render(guest.SEED[0], guest=GUEST)
    assert text.startswith("#cloud-config\n")
    assert f'      - "{GUEST.keys[0]}"\n' in text
    assert "ssh_pwauth: false" in text


def device(sys: Path, address: str, pci_id: str, driver: str = "") -> Path:
    """A function on a made-up bus; nobody there probes it."""
    place = sys / "bus/pci/devices" / address
    place.mkdir(parents=True)
    vendor, _, number = pci_id.partition(":")
    (place / "vendor").write_text(f"0x{vendor}\n")
    (place / "device").write_text(f"0x{number}\n")
    (place / "driver_override").write_text("(null)\n")
    if driver:
        (place / "driver").symlink_to(f"../../drivers/{driver}")
    return place


def bind(tmp_path: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """The script, with its paths below `tmp_path`."""
    (tmp_path / "bus/pci/drivers/vfio-pci").mkdir(parents=True)
    (tmp_path / "list").write_text("\n".join(["# a comment", *lines, ""]))
    text = BIND.read_text().replace("/sys/", f"{tmp_path}/")
    text = text.replace("/etc/deeprig/passthrough.list", f"{tmp_path}/list")
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)


def override(place: Path) -> str:
    return (place / "driver_override").read_text().strip()


def test_a_listed_function_that_nobody_has_is_meant_for_vfio(tmp_path: Path) -> None:
    given, twin = (device(tmp_path, f"0000:0{n}:00.0", "10de:2204") for n in (1, 2))
    bind(tmp_path, "0000:01:00.0 10de:2204")
    assert (override(given), override(twin)) == ("vfio-pci", "(null)")
    assert (tmp_path / "bus/pci/drivers_probe").read_text() == "0000:01:00.0\n"


def test_another_device_at_a_listed_address_is_left_alone(tmp_path: Path) -> None:
    disk = device(tmp_path, "0000:01:00.0", "144d:a80a")
    done = bind(tmp_path, "0000:01:00.0 10de:2204", "0000:09:00.0 10de:2204")
    assert (override(disk), done.returncode) == ("(null)", 1)
    assert done.stdout.splitlines() == [
        "0000:01:00.0: 144d:a80a is there, not 10de:2204, and is left alone",
        "0000:09:00.0: no device is there; 10de:2204 may have moved",
    ]


def test_a_function_is_never_taken_from_a_driver(tmp_path: Path) -> None:
    held = device(tmp_path, "0000:01:00.0", "10de:2204", driver="nvidia")
    done = bind(tmp_path, "0000:01:00.0 10de:2204")
    assert (override(held), done.returncode) == ("(null)", 1)
    assert "nvidia has it already, and keeps it until the next boot" in done.stdout


def test_a_second_look_finds_nothing_to_do(tmp_path: Path) -> None:
    device(tmp_path, "0000:01:00.0", "10de:2204", driver="vfio-pci")
    done = bind(tmp_path, "0000:01:00.0 10de:2204")
    assert (done.returncode, done.stdout) == (0, "")
