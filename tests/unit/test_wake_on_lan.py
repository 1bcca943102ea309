"""Which card is armed, by which file, and what stands in the way; from what real boxes printed."""

from typing import Any

import pytest

from deeprig.facts import network_cards, survey
from deeprig.facts.network_cards import Network, chosen, drop_in, left_out, objections
from deeprig.operations import files
from deeprig.runner import runs
from deeprig.settings import Rig, WakeOnLan
from tasks import wake_on_lan
from tests.unit.recorded import DEBIAN_13

# deeprig/facts/network_cards.sh on a Debian 13 container with ifupdown, 2026-11-23.
CONTAINER = """\
card=eth0|02:00:c6:12:56:0c|virtual|/usr/lib/systemd/network/99-default.link|ifupdown
wakes=eth0 d
route=eth0
""".splitlines()

# The same lines for machines that are not at hand: written by hand, in the form above.
WORKSTATION = """\
card=br0|3c:7c:3f:00:11:22|virtual|/usr/lib/systemd/network/99-default.link|networkd
card=docker0|02:42:00:00:00:01|virtual|/usr/lib/systemd/network/99-default.link|
card=enp5s0|3c:7c:3f:00:11:22|wired|/run/systemd/network/10-netplan-lan.link|netplan with networkd
card=enp6s0|3c:7c:3f:00:11:33|wired|/usr/lib/systemd/network/99-default.link|
card=wlp7s0|f0:9e:4a:00:11:44|wireless|/usr/lib/systemd/network/99-default.link|
below=br0 enp5s0
wakes=br0 d
wakes=docker0 d
wakes=enp5s0 pumbg
wakes=enp6s0 d
wakes=wlp7s0 d
route=br0
""".splitlines()
ON = WakeOnLan()


def network(lines: list[str], *more: str, without: str = "") -> Network:
    kept = [line for line in lines if not without or not line.startswith(without)]
    return survey.read([*DEBIAN_13, *kept, *more]).network


def test_the_card_below_the_bridge_of_the_default_route_is_armed() -> None:
    card = chosen(network(WORKSTATION), ON)
    assert card is not None
    assert (card.name, card.mac) == ("enp5s0", "3c:7c:3f:00:11:22")
    assert card.manager == "netplan with networkd"
    assert left_out(card, ON) == ""


def test_it_is_armed_by_an_addition_to_the_file_that_wins() -> None:
    card = chosen(network(WORKSTATION), ON)
    assert card is not None
    wanted = "/etc/systemd/network/10-netplan-lan.link.d/50-deeprig-wake-on-lan.conf"
    assert drop_in(card) == wanted


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (WakeOnLan(interface="enp6s0"), "enp6s0"),
        (WakeOnLan(interface="br0"), "enp5s0"),
        (WakeOnLan(mac="3c:7c:3f:00:11:22"), "enp5s0"),
        (WakeOnLan(interface="br0", mac="3c:7c:3f:00:11:22"), "enp5s0"),
    ],
)
def test_a_card_is_named_by_its_name_its_address_or_what_stands_on_it(
    settings: WakeOnLan, name: str
) -> None:
    found = network(WORKSTATION)
    assert objections(found, settings) == []
    card = chosen(found, settings)
    assert card is not None and card.name == name


def test_the_only_card_carries_the_default_route_of_a_vpn() -> None:
    vpn = network(WORKSTATION, "card=wg0|00:00|virtual||", "route=wg0", without="route=")
    assert chosen(vpn, ON) is None  # two cards with a plug: which one?
    lines = [line for line in WORKSTATION if "enp6s0" not in line]
    card = chosen(network(lines, "card=wg0|00:00|virtual||", "route=wg0", without="route="), ON)
    assert card is not None and card.name == "enp5s0"


def test_a_container_without_a_card_of_its_own_is_left_alone() -> None:
    assert chosen(network(CONTAINER), ON) is None
    named = chosen(network(CONTAINER), WakeOnLan(interface="eth0"))
    assert named is not None and named.name == "eth0"


def test_a_card_that_cannot_is_left_alone_unless_it_is_named() -> None:
    found = network(WORKSTATION, "route=enp6s0", without="route=")
    card = chosen(found, ON)
    assert card is not None
    assert left_out(card, ON) == (
        "Wake-on-LAN is left out: enp6s0 cannot wake the box, it supports 'd' and 'g' is needed; "
        "WakeOnLan(interface=) names another card."
    )
    assert left_out(card, WakeOnLan(interface="enp6s0")) == ""


def test_of_two_ways_out_the_one_with_a_plug_is_armed() -> None:
    # A Wi-Fi whose metric is the lower one; https://github.com/pikvm/pikvm/issues/583
    both = network(WORKSTATION, "route=wlp7s0", "route=br0", without="route=")
    card = chosen(both, ON)
    assert card is not None and card.name == "enp5s0"


def test_wifi_is_left_alone_and_refused_where_it_is_named() -> None:
    found = network(WORKSTATION, "route=wlp7s0", without="route=")
    card = chosen(found, ON)
    assert card is not None and "wlp7s0 is Wi-Fi" in left_out(card, ON)
    assert objections(found, ON) == []
    [said] = objections(found, WakeOnLan(interface="wlp7s0"))
    assert said.startswith("WakeOnLan names wlp7s0, which is Wi-Fi")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            WakeOnLan(interface="eth9"),
            "WakeOnLan.interface is 'eth9', which is no card of this box: "
            "enp5s0 (3c:7c:3f:00:11:22), enp6s0 (3c:7c:3f:00:11:33).",
        ),
        (
            WakeOnLan(mac="00:11:22:33:44:55"),
            "WakeOnLan.mac is '00:11:22:33:44:55', which is no card of this box: "
            "enp5s0 (3c:7c:3f:00:11:22), enp6s0 (3c:7c:3f:00:11:33).",
        ),
        (
            WakeOnLan(interface="enp5s0", mac="3c:7c:3f:00:11:33"),
            "WakeOnLan.interface is 'enp5s0' and WakeOnLan.mac is '3c:7c:3f:00:11:33', which is "
            "enp6s0's; leave one of them out.",
        ),
    ],
)
def test_a_card_that_is_not_there_is_refused_naming_those_that_are(
    settings: WakeOnLan, sentence: str
) -> None:
    assert objections(network(WORKSTATION), settings) == [sentence]
    assert objections(network(WORKSTATION), None) == []


def test_a_card_for_which_udev_takes_no_file_has_no_addition() -> None:
    card = network(["card=enp5s0|3c:7c:3f:00:11:22|wired||"]).cards[0]
    assert drop_in(card) == ""
    assert card.can_wake  # nobody could tell: it is tried


def test_the_survey_asks_for_the_cards() -> None:
    assert network_cards.SCRIPT in survey.SCRIPT


def plan(found: Network, settings: WakeOnLan = ON) -> list[str]:
    """What a run would do, in order, to a box with these cards that answers nothing else."""
    data: dict[str, Any] = {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0}

    def build(rig: Rig) -> None:
        wake_on_lan.enable(settings=settings, network=found)

    report = runs.run("@fake/rig1", data, build, dry=True)
    assert report.error is None
    return [step.name.removeprefix("Wake-on-LAN | ") for step in report.steps]


def test_nothing_is_written_for_a_card_that_cannot() -> None:
    cannot = network(WORKSTATION, "route=enp6s0", without="route=")
    assert plan(cannot) == ["Leave a card alone that cannot wake the box"]
    assert "Arm enp6s0 now" in plan(cannot, WakeOnLan(interface="enp6s0"))
    assert plan(network(CONTAINER)) == []


def test_the_card_is_armed_after_all_that_keeps_it_armed() -> None:
    stale = "/etc/systemd/network/99-default.link.d/50-deeprig-wake-on-lan.conf"
    names = plan(network(WORKSTATION, "network_manager=yes", "tlp=yes", f"armed_by={stale}"))
    assert names == [
        "Install ethtool",
        "Write /etc/systemd/network/10-netplan-lan.link.d/50-deeprig-wake-on-lan.conf",
        f"No {stale}",
        "Write /etc/NetworkManager/conf.d/50-deeprig-wake-on-lan.conf",
        "Write /etc/NetworkManager/dispatcher.d/50-deeprig-wake-on-lan",
        "Write /etc/tlp.d/50-deeprig-wake-on-lan.conf",
        "Write /etc/systemd/system/deeprig-wake-on-lan.service",
        f"Have systemd read {wake_on_lan.UNIT}",
        "Arm it at every boot and before power-off",
        "Arm enp5s0 now",
        "Remember here how to wake it",
    ]


def test_the_addition_matches_no_card_by_itself() -> None:
    """A [Match] in it would narrow the file it is added to, and rename all the others."""
    card = network(WORKSTATION).card(name="enp5s0")
    text = files.render("/etc/systemd/network/wake-on-lan.conf", card=card)
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "[Link]",
        "WakeOnLan=magic",
    ]


def test_the_manifest_keeps_the_address_of_the_armed_card() -> None:
    found = network(WORKSTATION)
    assert wake_on_lan.record(ON, found) == {
        "interface": "enp5s0",
        "mac": "3c:7c:3f:00:11:22",
        "managed_by": "netplan with networkd",
    }
    assert wake_on_lan.record(None, found) is None
    assert wake_on_lan.record(ON, network(CONTAINER)) is None
