"""ufw, for what comes in: SSH, what the settings allow, and nothing else."""

import shlex

from deeprig.settings import Firewall
from deeprig.survey import Survey
from tasks import archive
from tasks.packages import BROUGHT
from tasks.traces import Trace

# Every rule of ours carries its own name in its comment; rules of the user's own are left alone.
PREFIX = "deeprig "

# Forwarding is left open: Docker, libvirt and WireGuard decide there, and ufw's default would
# cut their guests off.
SWITCH_ON = [
    f"ufw status | grep -q 'Status: active' || echo 'firewall on' >> {BROUGHT}",
    "ufw default deny incoming",
    "ufw default allow outgoing",
    "ufw default allow routed",
    "ufw --force enable",
]

# Addresses and names for guests, by libvirt's dnsmasq. Where libvirt writes its rules to nftables,
# what it lets in is still dropped by ufw.
GUESTS = {
    "guest addresses": "allow in on virbr0 to any port 67 proto udp",
    "guest names": "allow in on virbr0 to any port 53",
}

TRACE = Trace(
    packages=archive.UFW,
    # Every rule, last one first: ufw renumbers them.
    before=(
        f"ufw show added | sed -n \"s/^ufw \\(.*\\) comment '{PREFIX}.*'$/\\1/p\" | "
        "while read -r rule; do ufw delete $rule; done",
        f"if grep -qsx 'firewall on' {BROUGHT}; then "
        f"ufw --force disable; ufw default deny routed; sed -i '/^firewall on$/d' {BROUGHT}; fi",
    ),
    sign=f"grep -sx 'firewall on' {BROUGHT}; ! command -v ufw >/dev/null || "
    f'ufw show added | grep "comment \'{PREFIX}"',
    stays="what comes in from the network is no longer refused",
)


def ssh_rule(port: int) -> dict[str, str]:
    """The rule that lets SSH in at a port: its name and the ufw command that adds it."""
    return _rule(f"ssh {port}/tcp", f"allow {port}/tcp")


def rules(settings: Firewall, *, port: int, survey: Survey, guests: bool = False) -> dict[str, str]:
    """Every rule that must stand: its name and the ufw command that adds it."""
    wanted = ssh_rule(port)
    for rule in settings.allow:
        wanted |= _rule(rule, _allow(rule))
    for interface in settings.trusted_interfaces:
        wanted |= _rule(f"all on {interface}", f"allow in on {interface}")
    # A WireGuard link in use must survive; it may be the way this very run comes in.
    for wireguard_port in survey.wireguard_ports:
        if wireguard_port != "0":
            wanted |= _rule(f"wireguard {wireguard_port}/udp", f"allow {wireguard_port}/udp")
    if guests:
        for name, words in GUESTS.items():
            wanted |= _rule(name, words)
    return wanted


def removal(name: str) -> str:
    """The command that takes a rule of ours out again, by its name."""
    pattern = shlex.quote(f"s/^ufw \\(.*\\) comment '{PREFIX}{name.replace('/', '.')}'$/\\1/p")
    return f"ufw show added | sed -n {pattern} | while read -r rule; do ufw delete $rule; done"


def _allow(rule: str) -> str:
    ports, _, source = rule.partition(" from ")
    if not source:
        return f"allow {ports}"
    number, _, protocol = ports.partition("/")
    suffix = f" proto {protocol}" if protocol else ""
    return f"allow from {source} to any port {number}{suffix}"


def _rule(name: str, words: str) -> dict[str, str]:
    return {name: f"ufw {words} comment {shlex.quote(PREFIX + name)}"}
