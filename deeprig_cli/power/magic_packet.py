"""The magic packet, and the way it takes: from this machine, or from a host on the box's LAN."""

import platform
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import wakeonlan

from deeprig.errors import DeeprigError
from deeprig.facts.wake_memory import WakeTarget
from deeprig.parsers import untrusted

SCRIPT = (Path(__file__).parent / "magic_packet.sh").read_text()
PORT = 9
COUNT = 3  # one alone gets lost, or meets a switch that is still asleep
APART_SECONDS = 0.2
VIA_SECONDS = 60
LIMITED_BROADCAST = "255.255.255.255"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Whom a packet wakes, where it is sent to, and from which address of this machine."""

    mac: str
    broadcast: str
    source: str | None = None
    lan: str = ""

    @property
    def said(self) -> str:
        return f"{self.mac} at {self.broadcast} port {PORT}"

    @property
    def from_elsewhere(self) -> bool:
        """Whether this machine is in another network, where routers pass no broadcast on."""
        return bool(
            self.lan and self.source and ip_address(self.source) not in ip_network(self.lan)
        )


def aim(box: WakeTarget, hostname: str) -> Destination:
    """At the broadcast address of the box's own network; at everybody's where that is not known.

    The latter leaves by one card only: the one through which the box would be reached.
    """
    if box.lan:
        broadcast = str(ip_network(box.lan).broadcast_address)
        return Destination(
            mac=box.mac, broadcast=broadcast, source=own_address(broadcast), lan=box.lan
        )
    return Destination(mac=box.mac, broadcast=LIMITED_BROADCAST, source=own_address(hostname))


def own_address(towards: str) -> str | None:
    """This machine's IPv4 address on the way there; None where there is no way. Sends nothing."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            out.connect((towards, PORT))
        except OSError:
            return None
        return str(out.getsockname()[0])


def send(to: Destination, *, port: int = PORT, count: int = COUNT) -> None:
    """From this machine. Raises DeeprigError where the network takes no broadcast."""
    # A source would choose the card: the route does that for a network's own broadcast address.
    source = to.source if to.broadcast == LIMITED_BROADCAST else None
    for _ in range(count):
        try:
            wakeonlan.wake(to.mac, host=to.broadcast, port=port, interface=source)
        except OSError as error:
            raise DeeprigError(
                f"no packet could be sent to {to.broadcast} ({error.strerror or error}); is this "
                "machine on a network? --via HOST sends it from a host on the box's LAN."
            ) from None
        time.sleep(APART_SECONDS)


def send_via(host: str, ssh: Callable[[str], list[str]], to: Destination) -> None:
    """From another host, where `ssh` runs a command. Raises DeeprigError with what it said."""
    # What a box said of itself is to be no command on another host, whatever let it come here.
    mac, broadcast = untrusted.mac(to.mac), str(IPv4Address(to.broadcast))
    command = ssh(shlex.join(["sh", "-s", mac, broadcast, str(PORT), str(COUNT)]))
    try:
        done = subprocess.run(
            command, input=SCRIPT, capture_output=True, text=True, check=False, timeout=VIA_SECONDS
        )
    except FileNotFoundError:
        raise DeeprigError("there is no `ssh` here; install OpenSSH's client.") from None
    except subprocess.TimeoutExpired:
        raise DeeprigError(f"{host} did not send the packet in {VIA_SECONDS} s.") from None
    if done.returncode == 0:
        return
    complaint = (done.stderr.strip().splitlines() or ["nothing"])[-1].strip().rstrip(".")
    if done.returncode == 255:  # ssh's own
        raise DeeprigError(
            f"--via {host}: {complaint}; `ssh {host} true` must work here without a question."
        )
    raise DeeprigError(f"{host} sent no packet: {complaint}; name another host with --via.")


def is_wsl2(release: str = platform.release()) -> bool:
    """Whether this kernel is WSL2's, by its name; WSL1 shares the network of Windows."""
    return "wsl2" in release.lower() or "microsoft-standard" in release.lower()
