"""One network for all boxes, behind a router that is a network namespace of its own.

    this machine --- 198.18.86.1 [bridge in the router] 198.18.86.10, .11, ... the boxes
                                  router --- NAT --- slirp4netns --- the internet

slirp4netns is an ordinary process that opens ordinary connections, so this machine needs no
forwarding and no firewall rule: it gets one interface, with the route that comes with it.
"""

import os
import subprocess
from pathlib import Path

from lab import cgroups, paths, shell
from lab.errors import fail

# 198.18.0.0/15 is for tests (RFC 2544): no home, office or cloud network uses it.
SUBNET = "198.18.86"
THIS_MACHINE = f"{SUBNET}.1"
GATEWAY = f"{SUBNET}.254"
UPLINK = "198.18.87.0/24"
NAMESERVER = "198.18.87.3"
FIRST_BOX, LAST_BOX = 10, 199

ROUTER = "deeprig-lab"
BRIDGE = "boxes"
ROUTER_FILE = Path("/run/netns", ROUTER)
OWNER = Path("/run/deeprig-lab")  # a link to the folder of the lab that made the network
UPLINK_GROUP = "_uplink"  # no box can be named so
NAT = """
table ip deeprig_lab {
    chain uplink {
        type nat hook postrouting priority srcnat;
        oifname "uplink" masquerade
    }
}
"""


def free_address(taken: set[str]) -> str:
    """The first address that no box has. Raises DeeprigError where all are taken."""
    for last in range(FIRST_BOX, LAST_BOX + 1):
        if (address := f"{SUBNET}.{last}") not in taken:
            return address
    fail(f"all {len(taken)} addresses of the lab are taken; take a box down: `deeprig lab list`.")


def port(address: str) -> str:
    """The router's end of the cable to the box with this address."""
    return f"box{address.rpartition('.')[2]}"


def mac(address: str) -> str:
    """The hardware address of the card of the box with this address."""
    return f"02:00:c6:12:56:{int(address.rpartition('.')[2]):02x}"


def ensure() -> None:
    """Make of the router what is missing; call it with `paths.shared()` held.

    Raises DeeprigError where another user's lab, which has the same names, is on this machine.
    """
    _claim()
    if not _whole():
        remove()
        _make_router()
    if not cgroups.alive(UPLINK_GROUP):
        _start_uplink()


def remove() -> None:
    """Take the router away with all it needed; fine if there is only half of it, or none."""
    cgroups.kill(UPLINK_GROUP)
    # Before its namespace, which would take it along a little later, in the middle of what follows.
    if shell.succeeds("ip", "link", "show", ROUTER):
        shell.run("ip", "link", "delete", ROUTER)
    if ROUTER_FILE.exists():
        shell.run("ip", "netns", "delete", ROUTER)
    netns = ROUTER_FILE.parent
    if netns.is_dir() and not any(netns.iterdir()):  # `ip netns add` made it and mounted it
        shell.succeeds("umount", str(netns))
        netns.rmdir()
    OWNER.unlink(missing_ok=True)
    if cgroups.group().is_dir():
        cgroups.remove()


def attach(address: str, pid: int) -> None:
    """Put a card named eth0 into the network of process `pid`, its cable into the bridge."""
    cable = port(address)
    take_cable(address)
    card = ("type", "veth", "peer", "name", "eth0", "address", mac(address), "netns", str(pid))
    shell.run("ip", "-n", ROUTER, "link", "add", cable, *card)
    shell.run("ip", "-n", ROUTER, "link", "set", cable, "master", BRIDGE, "up")


def lay_cable(address: str) -> str:
    """A cable from the bridge for QEMU, which runs in the router's namespace; its name there."""
    cable = port(address)
    take_cable(address)
    shell.run("ip", "-n", ROUTER, "tuntap", "add", cable, "mode", "tap")
    shell.run("ip", "-n", ROUTER, "link", "set", cable, "master", BRIDGE, "up")
    return cable


def take_cable(address: str) -> None:
    """Remove the cable to the box with this address; fine if there is none."""
    # The kernel may take it along with the box's last network at this moment.
    shell.succeeds("ip", "-n", ROUTER, "link", "delete", port(address))


def unplug(address: str) -> None:
    """Pull the cable out of the box with this address: nothing gets through, nobody is told."""
    shell.run("ip", "-n", ROUTER, "link", "set", port(address), "down")


def plug(address: str) -> None:
    """Put the cable back."""
    shell.run("ip", "-n", ROUTER, "link", "set", port(address), "up")


def _claim() -> None:
    owner = OWNER.readlink() if OWNER.is_symlink() else paths.state()
    if owner != paths.state() and any(owner.glob("[!.]*/state.json")):
        fail(f"the lab in {owner} has boxes; take them down first: one lab at a time.")
    OWNER.unlink(missing_ok=True)
    OWNER.symlink_to(paths.state())


def _whole() -> bool:
    """Whether the router was made to the end: raising its cable to us is the last step."""
    if not ROUTER_FILE.exists():
        return False
    return "host" in shell.run("ip", "-n", ROUTER, "-brief", "link", "show", "up")


def _make_router() -> None:
    shell.run("ip", "netns", "add", ROUTER)
    steps = f"""
        link set lo up
        link add {BRIDGE} type bridge
        address add {GATEWAY}/24 dev {BRIDGE}
        link set {BRIDGE} up
    """
    shell.run("ip", "-n", ROUTER, "-batch", "-", stdin=steps)
    shell.run("ip", "netns", "exec", ROUTER, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    shell.run("ip", "netns", "exec", ROUTER, "nft", "-f", "-", stdin=NAT)
    shell.run("ip", "link", "add", ROUTER, "type", "veth", "peer", "name", "host", "netns", ROUTER)
    shell.run("ip", "address", "add", f"{THIS_MACHINE}/24", "dev", ROUTER)
    shell.run("ip", "link", "set", ROUTER, "up")
    shell.run("ip", "-n", ROUTER, "link", "set", "host", "master", BRIDGE, "up")


def _start_uplink() -> None:
    """slirp4netns in a session and control group of its own; back when it has the interface."""
    reading, writing = os.pipe()
    command = f"""
        echo $$ > {cgroups.group(UPLINK_GROUP)}/cgroup.procs
        exec slirp4netns --configure --mtu=65520 --disable-host-loopback --cidr={UPLINK} \
            --ready-fd={writing} --netns-type=path {ROUTER_FILE} uplink
    """
    cgroups.group(UPLINK_GROUP).mkdir(parents=True, exist_ok=True)
    with (paths.state() / "uplink.log").open("w") as log:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", command],
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    os.close(writing)
    with os.fdopen(reading) as ready:
        if ready.read() != "1":
            fail(f"slirp4netns did not start; {log.name} says why.")
