"""The network card is armed, by the file that decides, and is called what it was called."""

import json

import pytest
from testinfra.host import Host

from deeprig.facts import network_cards, survey
from deeprig.facts.network_cards import Card, Network
from deeprig.settings import Rig
from tasks import manifest
from tasks.wake_on_lan import UNIT

NETWORK_MANAGER = "/etc/NetworkManager/dispatcher.d/50-deeprig-wake-on-lan"
# A container has no udev that could be asked; see deeprig/facts/network_cards.sh.
UDEV = (
    "if [ -e /run/udev/data ]; then udevadm info -q property /sys/class/net/%s; "
    "else udevadm test-builtin net_setup_link /sys/class/net/%s 2>/dev/null; fi"
)


@pytest.fixture
def network(host: Host) -> Network:
    with host.sudo():
        lines = host.check_output("sh -c %s", network_cards.SCRIPT).splitlines()
    return survey.read(lines).network


@pytest.fixture
def card(network: Network, rig: Rig) -> Card:
    if rig.wake_on_lan is None:
        pytest.skip("Wake-on-LAN is left to you (wake_on_lan=None)")
    found = network_cards.chosen(network, rig.wake_on_lan)
    if found is None:
        pytest.skip("no network card of its own here, as in a container, and WakeOnLan names none")
    if why := network_cards.left_out(found, rig.wake_on_lan):
        pytest.skip(why.rstrip("."))
    return found


def udev(host: Host, card: Card) -> dict[str, str]:
    """What udev decides for the card: which file, which name."""
    with host.sudo():
        lines = host.check_output(UDEV, card.name, card.name).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_the_file_that_wins_arms_the_card(host: Host, card: Card) -> None:
    winner = card.link_file.rpartition("/")[2]
    if not winner:
        pytest.skip(f"udev takes no .link file for {card.name}; the unit alone arms it")
    with host.sudo():  # netplan's files are root's alone
        text = host.check_output("systemd-analyze cat-config %s", f"systemd/network/{winner}")
    said = [line for line in text.splitlines() if line.startswith("WakeOnLan=")]
    assert said[-1:] == ["WakeOnLan=magic"]


def test_the_card_keeps_its_name(host: Host, card: Card) -> None:
    assert udev(host, card).get("ID_NET_NAME", card.name) == card.name
    ours = host.run("grep -l deeprig /etc/systemd/network/*.link").stdout
    assert ours == ""  # a whole file of ours would win, and rename the card some day


def test_it_is_armed_at_every_boot_and_before_power_off(host: Host, card: Card) -> None:
    assert host.service(UNIT).is_enabled
    assert host.service(UNIT).is_running
    for moment, verb in (("ExecStart", "boot"), ("ExecStop", "arm")):
        command = host.check_output("systemctl show -P %s %s", moment, UNIT)
        assert f"wake-on-lan {verb} {card.name} ;" in command


@pytest.mark.remedy(
    "`sudo /usr/local/lib/deeprig/current/bin/wake-on-lan arm CARD` says why; name another card"
)
def test_the_card_is_armed_now(host: Host, card: Card) -> None:
    if not card.can_wake:
        pytest.skip(
            f"{card.name} says that it cannot wake the box (Supports Wake-on: {card.wakes}), and "
            "is armed on request only"
        )
    with host.sudo():
        said = host.check_output("ethtool %s", card.name)
    [line] = [line for line in said.splitlines() if line.strip().startswith("Wake-on:")]
    assert "g" in line.partition(":")[2]


def test_network_manager_does_not_disarm_it(host: Host, network: Network, card: Card) -> None:
    if not network.network_manager:
        pytest.skip("NetworkManager is not installed, so it disarms nothing")
    file = host.file(NETWORK_MANAGER)  # NetworkManager runs only what is root's and safe
    assert (file.user, file.mode) == ("root", 0o755)
    settings = host.file("/etc/NetworkManager/conf.d/50-deeprig-wake-on-lan.conf").content_string
    assert f"match-device=interface-name:{card.name}\nethernet.wake-on-lan=64" in settings


def test_the_address_to_wake_it_by_is_kept(host: Host, card: Card) -> None:
    record = json.loads(host.file(manifest.PATH).content_string)
    assert record["decided"]["wake_on_lan"]["mac"] == card.mac
