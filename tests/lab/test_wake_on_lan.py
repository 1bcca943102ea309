"""Armed whoever is in charge of the network, by an addition to the file that wins.

A container's card is a virtual one that no packet wakes, so it is named in the settings, and what
udev would do with it is asked of udev itself. The live half needs a machine with its own kernel.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig.settings import Rig, WakeOnLan
from lab import boxes
from tasks import base, manifest, wake_on_lan
from tests.lab.conftest import PYINFRA, ROOT, run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
NAMED = WakeOnLan(interface="eth0")
OURS = "50-deeprig-wake-on-lan.conf"
FORGET = "sudo rm -rf /run/udev"
BUILTIN = "sudo udevadm test-builtin net_setup_link /sys/class/net/eth0 2>/dev/null"

NETWORKD = """
cat > /etc/systemd/network/10-lab.network <<END
[Match]
Name=eth0
[Network]
DHCP=no
END
"""
# cloud-init matches by address, which a virtual card has none of its own; what counts is that
# netplan then writes a .link file that switches Wake-on-LAN off.
NETPLAN = """
mkdir -p /etc/netplan; umask 077
cat > /etc/netplan/60-lab.yaml <<END
network:
  version: 2
  renderer: {renderer}
  ethernets:
    eth0:
      match: {{name: eth0}}
      set-name: eth0
END
netplan generate 2>&1
"""
SAYS_NO = """
cat > /etc/systemd/network/10-lab.link <<END
[Match]
OriginalName=eth0
[Link]
NamePolicy=keep kernel
WakeOnLan=off
END
"""
CLEAN = (
    "rm -f /etc/systemd/network/10-lab.* /etc/netplan/60-lab.yaml /run/systemd/network/10-netplan* "
    "/run/NetworkManager/system-connections/netplan-*; ! command -v netplan || netplan generate"
)
# Who is in charge: how it gets there, and the .link file that then wins.
IN_CHARGE = {
    "what the installer left": ("", "99-default.link"),
    "networkd": (NETWORKD, "99-default.link"),
    "netplan with networkd": (NETPLAN.format(renderer="networkd"), "10-netplan-eth0.link"),
    "netplan with NetworkManager": (
        NETPLAN.format(renderer="NetworkManager"),
        "10-netplan-eth0.link",
    ),
    "a link file that says no": (SAYS_NO, "10-lab.link"),
}


def arm(settings: WakeOnLan) -> Callable[[Rig], None]:
    """This part of deploy.py's order of work."""

    def build(rig: Rig) -> None:
        with_card = replace(rig, wake_on_lan=settings)
        survey = base.survey(rig=with_card)
        if survey:
            base.have_program()
            wake_on_lan.enable(settings=settings, network=survey.network)
            kept = wake_on_lan.record(settings, survey.network)
            manifest.record(name="Write the manifest", decided={"wake_on_lan": kept})

    return build


@pytest.fixture(scope="module", autouse=True)
def every_manager_is_there(box: boxes.Box) -> None:
    """netplan and NetworkManager, which does not run: the box's own network must stay."""
    subprocess.run(
        [sys.executable, "-m", "deeprig_cli.cli", "lab", "ssh", box.name, as_root(
            "systemctl mask --now NetworkManager.service NetworkManager-wait-online.service; "
            "apt-get -q update && DEBIAN_FRONTEND=noninteractive "
            "apt-get -qy install --no-install-recommends netplan.io network-manager tlp"
        )],
        cwd=ROOT, check=True, capture_output=True, timeout=600,
    )  # fmt: skip


def as_root(script: str) -> str:
    quoted = script.replace("'", "'\\''")
    return f"sudo sh -c '{quoted}'"


def udev(login: Login) -> dict[str, str]:
    return dict(line.split("=", 1) for line in login(BUILTIN).splitlines())


def link_settings(login: Login, winner: str) -> dict[str, str]:
    """What holds in the end in the .link file with its additions."""
    text = login(f"sudo systemd-analyze cat-config systemd/network/{winner}")
    lines = (line for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("manager", IN_CHARGE, ids=[m.replace(" ", "-") for m in IN_CHARGE])
def test_the_file_that_wins_arms_the_card_and_its_name_stays(
    box: boxes.Box, login: Login, manager: str
) -> None:
    script, winner = IN_CHARGE[manager]
    login(as_root(CLEAN))
    login(as_root(script))
    login(as_root(f"rm -f /etc/systemd/network/{winner}.d/{OURS}"))
    before, settings = udev(login), link_settings(login, winner)
    assert before["ID_NET_LINK_FILE"].endswith(f"/{winner}")
    assert settings.get("WakeOnLan") == (None if winner.startswith("99") else "off")  # the control

    report = run_on(box, arm(NAMED))
    assert report.error is None, report.steps

    after = udev(login)
    if after.pop("ID_NET_LINK_FILE_DROPINS", None) != f"/etc/systemd/network/{winner}.d/{OURS}":
        # Before systemd 256 udev does not name them, and does not only say what it would do.
        assert "Could not set WakeOnLan to magic" in login(BUILTIN.replace("/dev/null", "&1"))
    before.pop("ID_NET_LINK_FILE_DROPINS", None)
    assert after == before  # the same file, the same name
    assert after["ID_NET_NAME"] == "eth0"
    assert link_settings(login, winner) == {**settings, "WakeOnLan": "magic"}
    # systemd 252 writes down what it only tested, and takes the card for set up from then on.
    said = login(f"sudo udevadm test --action=add /sys/class/net/eth0 2>&1; {FORGET}")
    assert re.search(r"ID_NET_NAME=eth0$", said, re.MULTILINE)

    old = login(f"ls /etc/systemd/network/*.link.d/{OURS}").split()
    assert old == [f"/etc/systemd/network/{winner}.d/{OURS}"]  # none is left where another won
    assert run_on(box, arm(NAMED)).changes == []


def test_netplans_no_to_network_manager_is_made_good(box: boxes.Box, login: Login) -> None:
    login(as_root(CLEAN))
    login(as_root(NETPLAN.format(renderer="NetworkManager")))
    profile = login("sudo cat /run/NetworkManager/system-connections/netplan-eth0.nmconnection")
    assert "wake-on-lan=0" in profile  # the control: it would disarm the card at activation

    assert run_on(box, arm(NAMED)).error is None
    merged = login("sudo NetworkManager --print-config")
    assert "match-device=interface-name:eth0\nethernet.wake-on-lan=64\n" in merged

    tried = "/run/deeprig-wake-on-lan-refused"
    dispatcher = "/etc/NetworkManager/dispatcher.d/50-deeprig-wake-on-lan"
    for event, happened in (("eth0 down", ""), ("eth1 up", ""), ("eth0 up", "eth0\n")):
        login(f"sudo rm -f {tried}; sudo {dispatcher} {event}")
        assert login(f"cat {tried} 2>/dev/null; true") == happened, event


def test_tlp_is_told_not_to_disarm_the_card(box: boxes.Box, login: Login) -> None:
    assert run_on(box, arm(NAMED)).error is None
    assert 'WOL_DISABLE="N"' in login("sudo tlp-stat -c").replace("=N", '="N"')


def test_a_card_that_refuses_is_told_in_one_line_and_fails_nothing(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    only_this = tmp_path / "only_wake_on_lan.py"
    only_this.write_text(
        "from pyinfra.context import config, host\n"
        "from tests.lab.test_wake_on_lan import NAMED, arm\n"
        "config.SUDO = True\n"
        "arm(NAMED)(host.data.rig)\n"
    )
    done = subprocess.run(
        [PYINFRA, "-y", str(box.inventory), str(only_this)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("eth0 cannot be armed for Wake-on-LAN") == 1, said
    assert login("systemctl is-failed deeprig-wake-on-lan.service", check=False) == "active\n"


def test_it_is_tried_again_at_a_boot_and_before_power_off(box: boxes.Box, login: Login) -> None:
    assert run_on(box, arm(NAMED)).error is None
    journal = "sudo journalctl -q -o cat -u deeprig-wake-on-lan.service"
    login("sudo journalctl --rotate --vacuum-time=1s; sudo systemctl stop deeprig-wake-on-lan")
    assert login(journal).count("cannot be armed") == 1  # as at power-off
    login(as_root(CLEAN))
    boxes.reboot(box.name)
    tried = f"{journal} -b | grep 'cannot be armed'"
    assert login(f"for i in $(seq 30); do {tried} && break; sleep 1; done") != ""


def test_a_container_without_a_card_of_its_own_is_left_alone(box: boxes.Box) -> None:
    report = run_on(box, arm(WakeOnLan()))
    assert report.error is None
    names = [step.name for step in report.steps]
    assert names == ["Program | Put it there, in one step", "Write the manifest"]  # nothing of it


def test_a_card_that_is_not_there_is_refused_before_anything_is_touched(box: boxes.Box) -> None:
    report = run_on(box, arm(WakeOnLan(interface="eth9")))
    assert report.error is not None
    assert report.steps == []


def test_the_checks_of_verify_agree(box: boxes.Box, tmp_path: Path) -> None:
    assert run_on(box, arm(NAMED)).error is None
    inventory = tmp_path / "inventory.py"
    text = box.inventory.read_text()
    text = text.replace("rig=Rig(", 'rig=Rig(wake_on_lan=WakeOnLan(interface="eth0"),', 1)
    inventory.write_text(text.replace("settings import ", "settings import WakeOnLan, ", 1))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "tests/host/test_wake_on_lan.py",
         "--inventory", str(inventory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "5 passed, 1 skipped" in done.stdout, done.stdout
    assert "eth0 says that it cannot wake the box (Supports Wake-on: d)" in done.stdout
