"""The given cards are with vfio-pci and nobody else's are; the guest has them, and answers."""

import re
import shlex
from collections.abc import Callable

import pytest
from testinfra.host import Host

from deeprig.facts import boot_line, passthrough
from deeprig.facts.pci import OURS, PciDevice
from deeprig.facts.survey import Survey
from deeprig.operations import box_program
from deeprig.settings import Rig
from deeprig.settings.passthrough import Guest
from tasks.passthrough import LIST, UNIT

VIRSH = "virsh --quiet --connect qemu:///system"


@pytest.fixture
def given(survey: Survey, rig: Rig) -> tuple[PciDevice, ...]:
    """Every function that the settings give away."""
    if rig.passthrough is None:
        pytest.skip("no card is given to a guest (passthrough=None)")
    return passthrough.devices(survey.bus, rig.passthrough)


@pytest.fixture
def guest(rig: Rig) -> Guest:
    if rig.passthrough is None or rig.passthrough.guest is None:
        pytest.skip("the settings name no guest (Passthrough(guest=))")
    return rig.passthrough.guest


def virsh(host: Host, *words: str) -> str:
    with host.sudo():
        return str(host.check_output(shlex.join([*shlex.split(VIRSH), *words]))).strip()


@pytest.mark.usefixtures("given")
def test_the_kernel_was_started_with_what_passthrough_needs(survey: Survey) -> None:
    assert set(boot_line.iommu(survey.bus)) <= set(survey.bus.kernel_line.split())
    assert survey.bus.has_groups


@pytest.mark.remedy("reboot the box; if it stays, `systemctl status deeprig-passthrough` says why")
def test_every_given_function_is_with_vfio(given: tuple[PciDevice, ...]) -> None:
    assert {device.address: device.driver for device in given} == {
        device.address: OURS for device in given
    }


def test_no_other_device_is_with_vfio(survey: Survey, given: tuple[PciDevice, ...]) -> None:
    others = [device for device in survey.bus.devices if device not in given]
    assert others  # the control: the box was asked
    assert [device.address for device in others if device.driver == OURS] == []


def test_the_given_cards_are_what_they_were(host: Host, given: tuple[PciDevice, ...]) -> None:
    lines = host.file(LIST).content_string.splitlines()
    recorded = [line for line in lines if not line.startswith("#")]
    assert recorded == [f"{device.address} {device.id}" for device in given]
    assert host.service(UNIT).is_enabled


def test_the_guest_comes_up_with_the_box(host: Host, guest: Guest) -> None:
    assert guest.name in virsh(host, "list", "--all", "--autostart", "--name").split()
    assert "default" in virsh(host, "net-list", "--autostart", "--name").split()


def test_the_guest_has_every_given_function(
    host: Host, guest: Guest, given: tuple[PciDevice, ...]
) -> None:
    found = virsh(host, "dumpxml", guest.name)
    parts = r"domain='0x(\w{4})' bus='0x(\w{2})' slot='0x(\w{2})' function='0x(\w)'"
    hostdevs = re.findall(rf"<source>\s*<address {parts}", found)
    assert {f"{d}:{b}:{s}.{f}" for d, b, s, f in hostdevs} == {device.address for device in given}


@pytest.mark.remedy("`sudo virsh start NAME` on the box says why it does not")
def test_the_guest_runs(host: Host, guest: Guest) -> None:
    assert virsh(host, "domstate", guest.name) == "running"


def test_the_guest_runs_at_the_processors_own_speed(
    host: Host, guest: Guest, warn: Callable[[str], None]
) -> None:
    if "type='kvm'" in virsh(host, "dumpxml", guest.name).partition("\n")[0]:
        return
    with host.sudo():
        ask = box_program.command(
            "from deeprig_box.passthrough import guest_files; print(guest_files.complaint())"
        )
        why = host.check_output(ask)
    assert why  # emulated though KVM works: its definition is of another machine
    warn(f"the guest is emulated, and slow: {why.strip()}")


def address(host: Host, guest: Guest) -> str:
    leases = virsh(host, "domifaddr", guest.name)
    found = re.search(r"(\d+\.\d+\.\d+\.\d+)/", leases)
    assert found, f"{guest.name} has no address from this box: {leases or 'no lease'}"
    return found[1]


def test_the_guest_has_an_address(host: Host, guest: Guest) -> None:
    assert address(host, guest).startswith("192.168.122.")


def test_the_guest_lets_ssh_in(host: Host, guest: Guest) -> None:
    greeting = host.run(
        "timeout 30 bash -c %s bash %s",
        'exec 3<>"/dev/tcp/$1/22" && head -c 4 <&3',
        address(host, guest),
    )
    assert greeting.stdout == "SSH-", greeting.stderr


def test_nothing_is_left_of_it_where_no_card_is_given(rig: Rig, survey: Survey) -> None:
    if rig.passthrough is not None:
        pytest.skip("cards are given to a guest")
    assert not survey.bus.was_in, f"{LIST} is there; deploy again"
