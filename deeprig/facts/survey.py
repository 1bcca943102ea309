"""What a box is before anything is changed: one question, and what stands in the way."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from deeprig import catalog
from deeprig.facts import disks, docker, encryption, gpus, network_cards, pci, people
from deeprig.facts.disks import Disks
from deeprig.facts.docker import Docker
from deeprig.facts.encryption import Lock
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.network_cards import Network
from deeprig.facts.pci import Bus
from deeprig.parsers import untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.settings import Rig

# Each line that it prints is `key=value`; a key may come more than once.
OWN = (Path(__file__).parent / "survey.sh").read_text()
PARTS = (network_cards, disks, encryption, gpus, docker, pci)
FUNCTIONS = (people.functions(), encryption.INSTALLED)
SCRIPT = "\n".join([*FUNCTIONS, OWN, *(part.SCRIPT for part in PARTS), "true\n"])

T = TypeVar("T")
STRANGE = "What it says of its {what} cannot be believed: {why}; find out who answers there."
# What fights with ours, by the word that comes before its names: in words, and the way out.
LEFTOVERS = {
    "run-file": ("a driver from a .run file", "nvidia-uninstall"),
    "ppa": (
        "the graphics-drivers PPA",
        "add-apt-repository --remove ppa:graphics-drivers/ppa",
    ),
    "lambda": (
        "Lambda Stack",
        "apt purge lambda-stack lambda-stack-cuda && apt autoremove --purge",
    ),
    "half": ("a half-removed driver ({})", "dpkg --configure -a && apt purge {}"),
    "dkms": ("the module {} of a driver that no package owns", "dkms remove {} --all"),
    "library": ("a driver's library that no package owns ({})", "rm -f {} && ldconfig"),
    "modprobe": (
        "{}, which keeps NVIDIA's module from being loaded",
        "rm {} && update-initramfs -u",
    ),
    "vfio": (
        "{}, which gives its cards to vfio-pci at each boot",
        "rm {} && update-initramfs -u && reboot",
    ),
    "vfio-line": (
        "the kernel parameter vfio-pci.ids=, which gives its cards to vfio-pci",
        "sed -i -E s/vfio-pci.ids=[0-9a-fA-F:,]+// /etc/default/grub && update-grub && reboot",
    ),
}

_word = untrusted.parser("name of a system", r"[\w.-]{0,40}", 40)
_openssh = untrusted.parser("version of OpenSSH", r"(\d{1,4}\.\d{1,4})?", 9)
# A package, a module of DKMS with its version, or a file that a shell takes as it is.
_left = untrusted.parser("leftover", r"[\w.+@-]+(:\w+)?|[\w.+-]+/[\w.+~-]+|/[\w./+@~-]+", 255)
_algorithm = untrusted.parser("algorithm of SSH", r"[\w@.+-]+", 100)


def script(rig: Rig) -> str:
    """SCRIPT with what it is told of the settings: the one question that a box is asked."""
    users = [part.user for part in (rig.notebook, rig.containers) if part and part.user]
    made = [user.name for user in rig.users if user.present]
    clocks = " ".join(catalog.load("packages")["clocks"])
    return "\n".join(
        [
            f"USERS={shlex.quote(' '.join(users))} PEOPLE={shlex.quote(' '.join(made))} "
            f"CLOCKS={shlex.quote(clocks)}",
            disks.variables(rig.storage),
            pci.variables(rig.passthrough),
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
    """A box as its own commands describe it; what was not printed is empty.

    `strange` are sentences about what no honest box says: that part is empty too.
    """

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
    keys_at: tuple[
        tuple[str, str], ...
    ] = ()  # whose keys sshd does not take from ~/.ssh, but where
    users_with_free_sudo: tuple[str, ...] = ()
    root_groups: tuple[tuple[str, str], ...] = ()  # a user, and a group that leads to root
    dirty: tuple[tuple[str, str], ...] = ()
    firewalls: tuple[str, ...] = ()
    wireguard_ports: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    sendmail: bool = False
    network: Network = field(default_factory=Network)
    graphics: GpuFacts = field(default_factory=lambda: GpuFacts(kernels=()))
    disks: Disks = field(default_factory=Disks)
    locks: tuple[Lock, ...] = ()
    docker: Docker = field(default_factory=Docker)
    bus: Bus = field(default_factory=Bus)
    strange: tuple[str, ...] = ()

    @property
    def openssh_version(self) -> tuple[int, int]:
        """(9, 2) for OpenSSH 9.2; (0, 0) where there is none."""
        major, _, minor = self.openssh.partition(".")
        return (int(major or 0), int(minor or 0))


def read(output: list[str]) -> Survey:
    """The survey in what SCRIPT printed; what cannot be so is in `strange`."""
    answers: dict[str, list[str]] = {}
    for key, equals, value in (line.strip().partition("=") for line in output):
        if equals:
            answers.setdefault(key, []).append(value)
    strange: list[str] = []

    def part(what: str, read: Callable[[dict[str, list[str]]], T], nothing: T) -> T:
        try:
            return read(answers)
        except untrusted.ODD as error:
            strange.append(STRANGE.format(what=what, why=untrusted.why(error)))
            return nothing

    own = part("system", _own, Survey())
    return replace(
        own,
        network=part("network cards", network_cards.read, Network()),
        graphics=part("graphics cards", gpus.read, own.graphics),
        disks=part("disks", disks.read, Disks()),
        locks=part("encryption", encryption.read, ()),
        docker=part("Docker", docker.read, Docker()),
        bus=part("PCI devices", pci.read, Bus()),
        strange=tuple(strange),
    )


def _own(found: dict[str, list[str]]) -> Survey:
    """What OWN printed. Raises NotSo."""

    def one(key: str) -> str:
        return found.get(key, [""])[0]

    def several(key: str, parse: Callable[[str], str] = untrusted.user_name) -> tuple[str, ...]:
        return tuple(map(parse, found.get(key, [])))

    def algorithms(key: str) -> tuple[str, ...]:
        return tuple(map(_algorithm, one(key).split()))

    return Survey(
        system=_word(one("system")),
        version=_word(one("version")),
        name=untrusted.words(one("name")),
        architecture=_word(one("architecture")),
        openssh=_openssh(one("openssh")),
        lab=untrusted.words(one("lab")),
        container=bool(one("container")),
        grub=bool(one("grub")),
        cloud_init=bool(one("cloud_init")),
        ssh_socket=one("ssh_socket") == "enabled",
        kex=algorithms("kex"),
        ciphers=algorithms("cipher"),
        macs=algorithms("mac"),
        users=several("user"),
        users_with_key=several("has_key"),
        odd_keys=tuple(map(_odd_keys, found.get("odd_keys", []))),
        keys_at=tuple(map(_keys_at, found.get("keys_at", []))),
        users_with_free_sudo=several("free_sudo"),
        root_groups=tuple(map(_root_group, found.get("root_group", []))),
        dirty=tuple(map(_leftover, found.get("dirty", []))),
        firewalls=several("firewall", untrusted.words),
        wireguard_ports=several("wireguard", _port),
        clocks=several("clock", untrusted.package),
        sendmail=bool(one("sendmail")),
    )


def _root_group(line: str) -> tuple[str, str]:
    user, _, group = line.partition("|")
    return untrusted.user_name(user), untrusted.user_name(group)


def _odd_keys(line: str) -> tuple[str, str]:
    """Whose keys cannot be worked on, and why, in a sentence."""
    who, _, rest = line.partition("|")
    word, _, home = rest.partition("|")
    return untrusted.user_name(who), people.sentence(who, untrusted.path(home), word)


def _keys_at(line: str) -> tuple[str, str]:
    who, _, files = line.partition("|")
    return untrusted.user_name(who), untrusted.words(files)


def _leftover(line: str) -> tuple[str, str]:
    """What is left over, in words, and the command that takes it out."""
    what, _, names = line.partition(" ")
    if what not in LEFTOVERS:
        raise NotSo(f"{line[:80]!r} is nothing that deeprig asks about")
    sentence, way = LEFTOVERS[what]
    left = " ".join(map(_left, names.split()))
    return sentence.format(left), way.format(left)


def _port(text: str) -> str:
    return str(untrusted.number(text, 0, 65535))


def objections(survey: Survey, rig: Rig, copy_id: str = "ssh-copy-id") -> list[str]:
    """Why this box must not be touched with these settings, one sentence each with the way out.

    `copy_id` is what a person types to bring the work user a key.
    """
    return list(survey.strange) or [
        *_system(survey),
        *_leftovers(survey, rig),
        *_people(survey, rig, copy_id),
        *_messages(survey, rig),
    ]


def _system(survey: Survey) -> list[str]:
    systems = catalog.load("systems")
    names = [s["name"] for s in systems["system"]]
    if not any(
        (s["id"], s["version"]) == (survey.system, survey.version) for s in systems["system"]
    ):
        return [f"It runs {survey.name or 'no system we know'}; deeprig is for {', '.join(names)}."]
    if survey.architecture not in systems["architectures"]:
        supported = ", ".join(systems["architectures"])
        return [f"Its processor is {survey.architecture}; deeprig is for {supported}."]
    return []


def _leftovers(survey: Survey, rig: Rig) -> list[str]:
    sentences = [
        f"It carries {what}, which would fight with ours; take it out with `sudo sh -c '{way}'`."
        for what, way in (survey.dirty if rig.driver else ())
    ]
    if rig.firewall:
        sentences += [
            f"It already has a firewall, {other}; keep it with Rig(firewall=None), or remove it."
            for other in survey.firewalls
        ]
    return sentences


def _people(survey: Survey, rig: Rig, copy_id: str) -> list[str]:
    made = {user.name for user in rig.users if user.present}
    odd = [sentence for user, sentence in survey.odd_keys if user in made]
    return [*odd, *_keys_of_no_use(survey, rig), *_work_user(survey, rig, copy_id)]


def _keys_of_no_use(survey: Survey, rig: Rig) -> list[str]:
    """Who would be locked out because sshd does not look where the keys of the settings go."""
    files = dict(survey.keys_at)
    return [
        f"The keys of {user.name} in Rig.users go into ~/.ssh/authorized_keys, and for "
        f"{user.name} sshd reads {files[user.name].strip()}; write one of them there, or let "
        "AuthorizedKeysFile name .ssh/authorized_keys as well."
        for user in rig.users
        if user.present and user.keys and user.name in files
        if user.name not in survey.users_with_key
    ]


def _work_user(survey: Survey, rig: Rig, copy_id: str) -> list[str]:
    if rig.notebook is None:
        return []
    name = rig.notebook.user
    made_here = any(user.name == name for user in rig.users)
    if name not in survey.users and not made_here:
        return [
            f"Notebook.user is {name!r}, and nobody has that name; "
            f"add User(name={name!r}, keys=...) to Rig.users."
        ]
    sentences = []
    if name not in survey.users_with_key and not made_here:
        sentences.append(_no_key(name, survey, copy_id))
    if name in survey.users_with_free_sudo:
        sentences.append(
            f"Notebook.user is {name!r}, who may use sudo without a password: one bad package in a "
            "notebook would own the box; name another user, or take NOPASSWD out of /etc/sudoers.d."
        )
    if groups := [group for user, group in survey.root_groups if user == name]:
        out = " && ".join(f"sudo gpasswd -d {name} {group}" for group in groups)
        sentences.append(
            f"Notebook.user is {name!r}, who is in group {' and '.join(groups)} and so may become "
            f"root; run `{out}`, or name another user."
        )
    return sentences


def _no_key(name: str, survey: Survey, copy_id: str) -> str:
    """Why nobody could log in by this name without passwords, and the way out."""
    if files := dict(survey.keys_at).get(name):
        return (
            f"{name} has no SSH key in {files.strip()}, where sshd looks for them, and passwords "
            "are about to be turned off; write one there."
        )
    return dict(survey.odd_keys).get(name) or (
        f"{name} has no SSH key there and passwords are about to be turned off; run "
        f"`{copy_id}` first, or add User(name={name!r}, keys=...) to Rig.users."
    )


def _messages(survey: Survey, rig: Rig) -> list[str]:
    by_mail = rig.notify and "://" not in rig.notify
    if by_mail and not rig.mail_relay and not survey.sendmail:
        return [
            "Rig.notify is a mail address, and the box has no sendmail; name a server that takes "
            'its mail, such as Rig(mail_relay="mail.lan:25"), or an ntfy URL.'
        ]
    return []
