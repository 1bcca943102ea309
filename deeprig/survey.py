"""What a box is before anything is changed: one question, and what stands in the way."""

from dataclasses import dataclass, field
from pathlib import Path

from deeprig import data, disks, docker, encryption, gpus, network_cards, pci_devices, people
from deeprig.disks import Disks
from deeprig.docker import Docker
from deeprig.encryption import Lock
from deeprig.gpus import Graphics
from deeprig.network_cards import Network
from deeprig.pci_devices import Bus
from deeprig.settings import Rig

# Each line that it prints is `key=value`; a key may come more than once.
OWN = (Path(__file__).parent / "data/survey.sh").read_text()
PARTS = (network_cards, disks, encryption, gpus, docker, pci_devices)
SCRIPT = "\n".join([people.functions(), OWN, *(part.SCRIPT for part in PARTS), "true\n"])


def script(rig: Rig) -> str:
    """SCRIPT with what it is told of the settings: the one question that a box is asked."""
    asked = [part.user for part in (rig.notebook, rig.containers) if part and part.user]
    made = [user.name for user in rig.users if user.present]
    clocks = " ".join(data.load("packages")["clocks"])
    return "\n".join(
        [
            f"USERS='{' '.join(asked)}' PEOPLE='{' '.join(made)}' CLOCKS='{clocks}'",
            disks.variables(rig.storage),
            pci_devices.variables(rig.passthrough),
            gpus.variables(
                expected=rig.driver.gpus if rig.driver else (),
                planned=bool(rig.driver or rig.cuda),
                cardless=rig.driver is None,  # then a toolkit goes there all the same
            ),
            SCRIPT,
        ]
    )


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
    odd_keys: tuple[tuple[str, str], ...] = ()
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
    locks: tuple[Lock, ...] = ()
    docker: Docker = field(default_factory=Docker)
    bus: Bus = field(default_factory=Bus)

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

    odd = [line.split("|", 2) for line in several("odd_keys")]
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
        odd_keys=tuple((who, people.sentence(who, home, word)) for who, word, home in odd),
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
        locks=encryption.read(found),
        docker=docker.read(found),
        bus=pci_devices.read(found),
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
    made = {user.name for user in rig.users if user.present}
    odd = [said for user, said in survey.odd_keys if user in made]
    return [*odd, *_work_user(survey, rig)]


def _work_user(survey: Survey, rig: Rig) -> list[str]:
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
            dict(survey.odd_keys).get(name)
            or f"{name} has no SSH key there and passwords are about to be turned off; run "
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
