"""What a box is before anything is changed: one question, and what stands in the way."""

from dataclasses import dataclass, field

from deeprig import data, disks, gpus, network_cards
from deeprig.disks import Disks
from deeprig.gpus import Graphics
from deeprig.network_cards import Network
from deeprig.settings import Rig

# Each line that the script prints is `key=value`; a key may come more than once.
SCRIPT = r"""
. /etc/os-release; echo "system=$ID"; echo "version=$VERSION_ID"; echo "name=$PRETTY_NAME"
echo "architecture=$(uname -m)"
echo "openssh=$(ssh -V 2>&1 | sed -n 's/^OpenSSH_\([0-9]*\.[0-9]*\).*/\1/p')"
for k in kex cipher mac; do echo "$k=$(ssh -Q $k | tr '\n' ' ')"; done
[ -e /etc/deeprig-lab ] && echo "lab=$(head -n 1 /etc/deeprig-lab)"
systemd-detect-virt -cq && echo container=yes
[ -d /etc/default/grub.d ] || [ -e /etc/default/grub ] && echo grub=yes
for u in $USERS; do getent passwd "$u" >/dev/null || continue; echo "user=$u"
  home=$(getent passwd "$u" | cut -d: -f6)
  grep -qsE '^[^#]*(ssh|ecdsa)-' "$home/.ssh/authorized_keys" && echo "has_key=$u"
  sudo -l -U "$u" 2>/dev/null | grep -q 'NOPASSWD' && echo "free_sudo=$u"
  id -nG "$u" | tr ' ' '\n' | grep -qx docker && echo "docker=$u"
done
[ -e /usr/bin/nvidia-uninstall ] && echo 'dirty=a driver from a .run file|nvidia-uninstall'
grep -rqsE '^[^#]*graphics-drivers' /etc/apt/sources.list /etc/apt/sources.list.d &&
  echo 'dirty=the graphics-drivers PPA|add-apt-repository --remove ppa:graphics-drivers/ppa'
dpkg-query -W -f '${Status}\n' lambda-stack lambda-stack-cuda 2>/dev/null | grep -q ' installed' &&
  echo 'dirty=Lambda Stack|apt purge lambda-stack lambda-stack-cuda && apt autoremove --purge'
[ -x /usr/local/lib/deeprig/driver-set ] ||  # what a deploy left half done, the next one mends
half=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'nvidia-*' 'libnvidia-*' 2>/dev/null |
  sed -nE 's/^(half-installed|unpacked|half-configured|triggers-awaited) //p' | tr '\n' ' ')
[ -n "$half" ] && echo "dirty=a half-removed driver ($half)|dpkg --configure -a && apt purge $half"
systemctl is-active -q firewalld 2>/dev/null && echo firewall=firewalld
systemctl is-enabled -q nftables 2>/dev/null && grep -qsE '^[^#]*(accept|drop|reject)' \
  /etc/nftables.conf && echo 'firewall=the rules in /etc/nftables.conf'
for p in netfilter-persistent iptables-persistent; do
  dpkg-query -W -f '${Status}' $p 2>/dev/null | grep -q ' installed' && echo "firewall=$p"; done
command -v wg >/dev/null && wg show all listen-port 2>/dev/null |
  sed -nE 's/.*\s([0-9]+)$/wireguard=\1/p'
for c in $CLOCKS; do
  dpkg-query -W -f '${Status}' $c 2>/dev/null | grep -q ' installed' && echo "clock=$c"; done
echo "ssh_socket=$(systemctl is-enabled ssh.socket 2>/dev/null || true)"
command -v cloud-init >/dev/null && echo cloud_init=yes
[ -x /usr/sbin/sendmail ] && echo sendmail=yes
"""
SCRIPT += f"{network_cards.SCRIPT}\n{disks.SCRIPT}\n{gpus.SCRIPT}\ntrue\n"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A box as its own commands describe it; what was not printed is empty."""

    system: str = ""
    version: str = ""
    name: str = ""
    architecture: str = ""
    openssh: str = ""
    lab: str = ""
    container: bool = False
    grub: bool = False
    cloud_init: bool = False
    ssh_socket: bool = False
    kex: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    users_with_key: tuple[str, ...] = ()
    users_with_free_sudo: tuple[str, ...] = ()
    users_in_docker: tuple[str, ...] = ()
    dirty: tuple[tuple[str, str], ...] = field(default=())
    firewalls: tuple[str, ...] = ()
    wireguard_ports: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    sendmail: bool = False
    network: Network = field(default_factory=Network)
    graphics: Graphics = field(default_factory=lambda: Graphics(kernels=()))
    disks: Disks = field(default_factory=Disks)

    @property
    def openssh_version(self) -> tuple[int, int]:
        """(9, 2) for OpenSSH 9.2; (0, 0) where there is none."""
        major, _, minor = self.openssh.partition(".")
        return (int(major or 0), int(minor or 0))


def read(output: list[str]) -> Survey:
    """The survey in what SCRIPT printed."""
    found: dict[str, list[str]] = {}
    for key, equals, value in (line.strip().partition("=") for line in output):
        if equals:
            found.setdefault(key, []).append(value)

    def one(key: str) -> str:
        return found.get(key, [""])[0]

    def several(key: str) -> tuple[str, ...]:
        return tuple(found.get(key, []))

    return Survey(
        system=one("system"),
        version=one("version"),
        name=one("name"),
        architecture=one("architecture"),
        openssh=one("openssh"),
        lab=one("lab"),
        container=bool(one("container")),
        grub=bool(one("grub")),
        cloud_init=bool(one("cloud_init")),
        ssh_socket=one("ssh_socket") == "enabled",
        kex=tuple(one("kex").split()),
        ciphers=tuple(one("cipher").split()),
        macs=tuple(one("mac").split()),
        users=several("user"),
        users_with_key=several("has_key"),
        users_with_free_sudo=several("free_sudo"),
        users_in_docker=several("docker"),
        dirty=tuple((what, way) for what, _, way in (d.partition("|") for d in several("dirty"))),
        firewalls=several("firewall"),
        wireguard_ports=several("wireguard"),
        clocks=several("clock"),
        sendmail=bool(one("sendmail")),
        network=network_cards.read(found),
        graphics=gpus.read(found),
        disks=disks.read(found),
    )


def objections(survey: Survey, rig: Rig) -> list[str]:
    """Why this box must not be touched with these settings, one sentence each with the way out."""
    return [
        *_system(survey),
        *_leftovers(survey, rig),
        *_people(survey, rig),
        *_messages(survey, rig),
    ]


def _system(survey: Survey) -> list[str]:
    systems = data.load("systems")
    names = [s["name"] for s in systems["system"]]
    if not any(
        (s["id"], s["version"]) == (survey.system, survey.version) for s in systems["system"]
    ):
        return [f"It runs {survey.name or 'no system we know'}; deeprig is for {', '.join(names)}."]
    if survey.architecture not in systems["architectures"]:
        wanted = ", ".join(systems["architectures"])
        return [f"Its processor is {survey.architecture}; deeprig is for {wanted}."]
    return []


def _leftovers(survey: Survey, rig: Rig) -> list[str]:
    found = [
        f"It carries {what}, which would fight with ours; take it out with `sudo sh -c '{way}'`."
        for what, way in survey.dirty
    ]
    if rig.firewall:
        found += [
            f"It already has a firewall, {other}; keep it with Rig(firewall=None), or remove it."
            for other in survey.firewalls
        ]
    return found


def _people(survey: Survey, rig: Rig) -> list[str]:
    if rig.notebook is None:
        return []
    name = rig.notebook.user
    made_here = any(user.name == name for user in rig.users)
    if name not in survey.users and not made_here:
        return [
            f"Notebook.user is {name!r}, and nobody has that name; "
            f"add User(name={name!r}, keys=...) to Rig.users."
        ]
    found = []
    if name not in survey.users_with_key and not made_here:
        found.append(
            f"{name} has no SSH key there and passwords are about to be turned off; run "
            f"`ssh-copy-id {name}@...` first, or add User(name={name!r}, keys=...) to Rig.users."
        )
    if name in survey.users_with_free_sudo:
        found.append(
            f"Notebook.user is {name!r}, who may use sudo without a password: one bad package in a "
            "notebook would own the box; name another user, or take NOPASSWD out of /etc/sudoers.d."
        )
    if name in survey.users_in_docker:
        found.append(
            f"Notebook.user is {name!r}, who is in group docker and so may become root; run "
            f"`sudo gpasswd -d {name} docker`, or name another user."
        )
    return found


def _messages(survey: Survey, rig: Rig) -> list[str]:
    by_mail = rig.notify and "://" not in rig.notify
    if by_mail and not rig.mail_relay and not survey.sendmail:
        return [
            "Rig.notify is a mail address, and the box has no sendmail; name a server that takes "
            'its mail, such as Rig(mail_relay="mail.lan:25"), or an ntfy URL.'
        ]
    return []
