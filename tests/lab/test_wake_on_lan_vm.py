"""Cards of virtual machines stay armed through reboots, updates and power-off, or it is told.

The cards are QEMU's; drivers, udev, initramfs and network are the system's own. None of these cards
wakes its machine: a listener on the wire stands in for that part, and checks the packet's bytes.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator

import pytest

from deeprig.settings import WakeOnLan
from lab import boxes, console, network
from lab.hardware import Hardware
from tests.lab import offline, wire
from tests.lab.conftest import run_on, wait_for
from tests.lab.guarded import Run, shell
from tests.lab.test_wake import deeprig, ended, packet
from tests.lab.test_wake_on_lan import OURS, arm

pytestmark = pytest.mark.lab

CARD, UNIT = "enp0s4", "deeprig-wake-on-lan.service"
DRIVERS = {"vmxnet3": "vmxnet3", "i82559c": "e100", "rtl8139": "8139cp"}
DEPLOY = arm(WakeOnLan())
REFUSED, LEFT_OUT = f"{CARD} cannot be armed for Wake-on-LAN", "Wake-on-LAN is left out"
# The last that a system does, its network down and its disks read-only: said on the console.
LAST_WORDS = "/usr/lib/systemd/system-shutdown/lab-wake-on-lan"
SAY = f"""#!/bin/sh
PATH=/usr/sbin:/usr/bin
echo "deeprig lab: at $1$(ethtool {CARD} | grep '^[[:space:]]*Wake-on')" > /dev/console
"""
OFF_ARMED = ["poweroff", "Wake-on:", "g"]
# The driver is in the initramfs then, which made on another machine must be told what is in it.
UPDATE = """
echo $driver >> /etc/initramfs-tools/modules
echo MODULES=list > /etc/initramfs-tools/conf.d/lab
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -qy install --reinstall linux-image-$(ls /lib/modules)
"""
# As cloud-init writes it, by whichever renderer.
NETPLAN = """\
network:
  version: 2
  renderer: {renderer}
  ethernets:
    {card}:
      match: {{macaddress: "{mac}"}}
      set-name: {card}
      addresses: [{address}/24]
      routes: [{{to: default, via: {gateway}}}]
"""
NETPLANS = "/etc/netplan/50-cloud-init.yaml"
# Debian's own way is switched off, and what a deploy has left of ours at boot.
TO_NETPLAN = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy install --no-install-recommends netplan.io network-manager
systemctl mask NetworkManager.service NetworkManager-wait-online.service
systemctl enable systemd-networkd.service
printf 'auto lo\\niface lo inet loopback\\n' > /etc/network/interfaces
mkdir -p /etc/netplan
umask 077
cat > {NETPLANS} <<'END'
%s
END
systemctl disable {UNIT}
"""
TO_NETWORK_MANAGER = f"""
sed -i 's/networkd/NetworkManager/' {NETPLANS}
systemctl unmask NetworkManager.service
systemctl enable NetworkManager.service
systemctl disable systemd-networkd.service
systemctl disable {UNIT}
rm /etc/NetworkManager/*.d/50-deeprig-wake-on-lan*
"""


def with_card(*models: str) -> pytest.MarkDecorator:
    """Run the test on a VM with each of these cards."""
    return pytest.mark.parametrize("box", models, indirect=True)


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    name, system = f"t-wol-{request.param}", str(request.config.getoption("--os"))
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    made = boxes.up(
        name, kind="vm", os=system, hardware=Hardware(nic=request.param), packages=("ethtool",)
    )
    shell(made)(f"sudo install -D -m 755 /dev/stdin {LAST_WORDS}", stdin=SAY)
    yield made
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture
def run(box: boxes.Box) -> Run:
    return shell(box)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], int]:
    """How often a person who watches was told this."""
    caplog.set_level(logging.INFO, logger="pyinfra")
    return lambda words: sum(words in record.getMessage() for record in caplog.records)


def wakes_on(run: Run) -> str:
    """What ethtool says behind `Wake-on`."""
    return run(f"sudo ethtool {CARD} | sed -n 's/^[[:space:]]*Wake-on: //p'").strip()


def last_words(box: boxes.Box) -> str:
    """What the box said of its card at its last power-off or reboot."""
    return console.text(box.console).rpartition("deeprig lab: at ")[2].splitlines()[0]


def restart(box: boxes.Box, run: Run) -> None:
    """Off and on: in an emulator that has worked for a while a reboot's firmware takes minutes."""
    run("sudo systemctl poweroff", check=False)
    wait_for(lambda: not box.running, 120)
    boxes.up(box.name)


def driver(run: Run) -> str:
    return run(f"basename $(readlink /sys/class/net/{CARD}/device/driver)").strip()


def udev(run: Run) -> dict[str, str]:
    lines = run(f"udevadm info -q property /sys/class/net/{CARD}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def as_root(run: Run, script: str) -> None:
    run("sudo sh -e", stdin=script)


@with_card("vmxnet3", "i82559c", "rtl8139")
def test_a_card_is_armed_at_once(box: boxes.Box, run: Run, said: Callable[[str], int]) -> None:
    assert driver(run) == DRIVERS[box.hardware.nic]
    assert wakes_on(run) == "d"  # the control
    report = run_on(box, DEPLOY)
    assert report.error is None, report.steps
    assert wakes_on(run) == "g"
    assert run_on(box, DEPLOY).changes == []
    assert said(REFUSED) == said(LEFT_OUT) == 0


@with_card("vmxnet3", "i82559c")
def test_it_is_armed_and_has_its_name_after_an_update_of_kernel_and_initramfs(
    box: boxes.Box, run: Run
) -> None:
    """The driver is in the initramfs, so what udev knows there names the card."""
    run("sync")
    offline.run(box, f"driver={DRIVERS[box.hardware.nic]}; {UPDATE}")
    assert wakes_on(run) == "g"
    assert udev(run)["ID_NET_LINK_FILE_DROPINS"].endswith(f"/99-default.link.d/{OURS}")
    told = run("sudo journalctl -b -k -o cat").splitlines()
    [named] = [at for at, line in enumerate(told) if f"{CARD}: renamed from eth0" in line]
    [root] = [at for at, line in enumerate(told) if "EXT4-fs (vda2): mounted" in line]
    assert named < root  # the control: it was named in the initramfs


@with_card("vmxnet3", "i82559c")
def test_it_is_armed_when_the_power_goes_off(box: boxes.Box) -> None:
    code, out, err = ended(deeprig("off", box.inventory), 400)
    assert code == 0, out + err
    assert f"`deeprig wake {box.name} --inventory {box.inventory}` wakes it." in out
    wait_for(lambda: not box.running, 60)  # the machine itself, not only its network
    assert last_words(box).split() == OFF_ARMED
    print(out)


@with_card("vmxnet3")
def test_the_packet_brings_it_back_and_the_wait_ends_with_a_login(box: boxes.Box, run: Run) -> None:
    assert not box.running
    with wire.listen(network.ROUTER, network.BRIDGE) as listener:
        process = deeprig("wake", box.inventory, "--json")
        frame = listener.next(60)
        assert frame == wire.Frame(
            to="ff:ff:ff:ff:ff:ff",
            protocol=wire.BY_IP,
            source=network.THIS_MACHINE,
            target=f"{network.SUBNET}.255",
            port=9,
            payload=packet(network.mac(box.host)),
        )
        boxes.up(box.name)  # what the card does
        code, out, err = ended(process)
    told = json.loads(out)
    assert code == 0, err
    assert (told["awake"], told["already"]) == (True, False)
    assert told["seconds"] > 10 and told["packets"] > 3  # a whole boot was waited for
    print(f"awake after {told['seconds']} s and {told['packets']} packets")
    assert wakes_on(run) == "g"


@with_card("vmxnet3")
def test_netplan_with_networkd_disarms_it_no_more(box: boxes.Box, run: Run) -> None:
    values = {"mac": network.mac(box.host), "address": box.host, "gateway": network.GATEWAY}
    run("sync")
    offline.run(box, TO_NETPLAN % NETPLAN.format(renderer="networkd", card=CARD, **values))
    found = udev(run)
    assert found["ID_NET_LINK_FILE"].endswith(f"/10-netplan-{CARD}.link")
    assert wakes_on(run) == "d"  # the control: armed by udev's default file, and netplan's wins
    report = run_on(box, DEPLOY)
    assert report.error is None, report.steps
    assert wakes_on(run) == "g"
    run(f"sudo systemctl disable {UNIT}")  # udev alone
    restart(box, run)
    assert last_words(box).split() == OFF_ARMED
    assert run(f"systemctl is-active {UNIT}", check=False).strip() == "inactive"
    assert wakes_on(run) == "g"
    assert udev(run)["ID_NET_LINK_FILE"] == found["ID_NET_LINK_FILE"]
    assert set(run("ls /sys/class/net").split()) == {"lo", CARD}


@with_card("vmxnet3")
def test_netplan_with_network_manager_disarms_it_no_more(box: boxes.Box, run: Run) -> None:
    as_root(run, TO_NETWORK_MANAGER)
    restart(box, run)
    activate = f"sudo nmcli connection up netplan-{CARD}"
    assert "wake-on-lan=0" in run("sudo grep -r wake /run/NetworkManager/system-connections")
    assert wakes_on(run) == "d"  # the control: udev armed it, and its activation disarmed it
    report = run_on(box, DEPLOY)
    assert report.error is None, report.steps
    assert wakes_on(run) == "g"
    run(activate)
    wait_for(lambda: wakes_on(run) == "g", 20)


@with_card("rtl8139")
def test_a_card_that_forgets_is_armed_again_at_boot_and_at_power_off(
    box: boxes.Box, run: Run
) -> None:
    run(f"sudo systemctl disable {UNIT}")
    restart(box, run)
    assert udev(run)["ID_NET_LINK_FILE_DROPINS"].endswith(OURS)
    assert wakes_on(run) == "d"  # the control: udev armed it, and it forgot when it came up
    assert run_on(box, DEPLOY).error is None
    assert wakes_on(run) == "g"
    run(f"sudo ip link set {CARD} down && sudo ip link set {CARD} up")
    assert wakes_on(run) == "d"  # the control of what comes at power-off
    restart(box, run)
    assert last_words(box).split() == OFF_ARMED
    wait_for(lambda: wakes_on(run) == "g", 60)


@with_card("e1000")
def test_a_card_that_lies_is_told_in_one_line(
    box: boxes.Box, run: Run, said: Callable[[str], int]
) -> None:
    assert "Supports Wake-on: umbg" in run(f"sudo ethtool {CARD}")  # the control: it says it can
    report = run_on(box, DEPLOY)
    assert report.error is None, report.steps
    assert wakes_on(run) == "d"
    told = [step.output for step in report.steps if REFUSED in step.output]
    assert said(REFUSED) == 1, told
    assert run("systemctl --failed --plain --no-legend") == ""
    assert run_on(box, DEPLOY).changes == []
    code, out, _ = ended(deeprig("off", box.inventory), 400)
    assert code == 1
    assert out.startswith(f"{box.name} stays on: {REFUSED}")


@with_card("virtio")
def test_a_card_that_cannot_is_told_in_one_line_and_left_alone(
    box: boxes.Box, run: Run, said: Callable[[str], int]
) -> None:
    report = run_on(box, DEPLOY)
    assert report.error is None, report.steps
    assert said(LEFT_OUT) == 1
    assert report.changes == ["Write the manifest"]
    assert run(f"ls /etc/systemd/system/{UNIT}", check=False) == ""
