"""The text of a first rigs.py: what was found on a box, and what it shall be, with the reasons."""

import re
import textwrap
from dataclasses import dataclass
from datetime import date

from deeprig import settings
from deeprig.facts import disks, network_cards
from deeprig.facts.disks import Device
from deeprig.facts.survey import Survey
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.settings import Disk, Rig, WakeOnLan

HEAD = '''\
"""The boxes, and what each of them shall be: begun by `deeprig init` on {day}, yours to change.

docs/settings.md has every setting. A part that is None is left alone.
"""

from deeprig.settings import {names}

rigs = [
{block}]
'''
GB = 10**9
WIDTH = 100 - 14


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What somebody decided for a box; `new_user` says that the work user has yet to get in."""

    name: str
    key: str
    hostname: str = ""  # where that is another than the name
    port: int = 22
    work_user: str = "ai"
    new_user: bool = False
    public_key: str = ""
    frameworks: tuple[str, ...] = ()
    docker: bool = False
    disk: Disk | None = None


def whole(chosen: Chosen, survey: Survey, day: date) -> str:
    """A file of its own."""
    text = block(chosen, survey)
    return HEAD.format(day=day.isoformat(), names=", ".join(names(text)), block=text)


def names(text: str) -> list[str]:
    """What a block needs from deeprig.settings, and what its remarks suggest would need."""
    named = {*re.findall(r"\b([A-Z]\w+)\(", text)}
    return [*sorted(name for name in named if hasattr(settings, name)), "box"]


def block(chosen: Chosen, survey: Survey) -> str:
    """One box, as it stands in the list."""
    lines = [
        f"    # {survey.name}, {survey.architecture}",
        "    box(",
        f'        "{chosen.name}",',
        *([f'        hostname="{chosen.hostname}",'] if chosen.hostname else []),
        *([f"        port={chosen.port},"] if chosen.port != 22 else []),
        *([f'        key="{chosen.key}",'] if chosen.key else []),
        "        rig=Rig(",
        *(f"            {line}" for line in _parts(chosen, survey)),
        "        ),",
        "    ),",
    ]
    return "".join(f"{line}\n" for line in lines)


def _parts(chosen: Chosen, survey: Survey) -> list[str]:
    return [
        *_people(chosen),
        *_cards(survey),
        *_python(chosen),
        *_disks(chosen, survey),
        *_docker(chosen),
        *_wake(survey),
    ]


def _people(chosen: Chosen) -> list[str]:
    made = [
        f"# {chosen.work_user} gets in with this key, and is made if nobody has that name yet.",
        f'users=(User(name="{chosen.work_user}", keys=("{chosen.public_key}",)),),',
    ]
    return [
        *(made if chosen.new_user else []),
        "# Who computes there: owns notebooks, jobs, environments. notebook=None: no JupyterLab.",
        f'notebook=Notebook(user="{chosen.work_user}"),',
    ]


def _cards(survey: Survey) -> list[str]:
    gpus = survey.graphics.gpus
    if not gpus:
        return [
            "# GPUs: no NVIDIA card was found. One that comes later gets its driver by a deploy."
        ]
    kinds = [f"{sum(str(g) == kind for g in gpus)} x {kind}" for kind in _kinds(survey)]
    lines = remark(f"GPUs found: {', '.join(kinds)}")
    decided = resolve.decide(survey, Rig())
    if isinstance(decided, Refusal):
        lines += [*remark(decided.refusal), *remark(f"What would work: {decided.instead}")]
    elif decided.driver_branch:
        toolkit = f" and CUDA {decided.cuda}" if decided.cuda not in ("", "none") else ""
        lines += remark(
            f"They get driver {decided.driver_branch}, {decided.module_flavour} modules"
            f"{toolkit}; `deeprig plan` says why."
        )
    return [*lines, "# driver=None, cuda=None,  # leaves both to you"]


def remark(text: str) -> list[str]:
    """Comment lines that fit into the block."""
    lines = textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)
    return [f"# {line}" for line in lines]


def _kinds(survey: Survey) -> list[str]:
    return list(dict.fromkeys(map(str, survey.graphics.gpus)))


def _python(chosen: Chosen) -> list[str]:
    if not chosen.frameworks:
        return ['# python=Python(frameworks=("torch",)),  # also "jax", "tensorflow"']
    listed = "".join(f'"{name}", ' for name in chosen.frameworks).rstrip()
    listed = listed if len(chosen.frameworks) == 1 else listed.rstrip(",")
    return [
        "# An environment and a notebook kernel for each, beside `base`.",
        f"python=Python(frameworks=({listed})),",
    ]


def _disks(chosen: Chosen, survey: Survey) -> list[str]:
    lines = [line for d in others(survey) for line in remark(f"Disk found: {said(d, survey)}")]
    if chosen.disk is None:
        return [*lines, "# No data disk: /data is a folder on the system's own."]
    by = (
        f'serials=("{chosen.disk.serials[0]}",)'
        if chosen.disk.serials
        else f'uuid="{chosen.disk.uuid}"'
    )
    why = "formatted only if it is empty" if chosen.disk.serials else "never formatted"
    return [
        *lines,
        f"# The disk for /data, what outlives a reinstall; {why}.",
        f"storage=Storage(disks=(Disk({by}),)),",
    ]


def _docker(chosen: Chosen) -> list[str]:
    if chosen.docker:
        return [
            "# Whoever may use Docker is as good as root: nobody yet.",
            "containers=Containers(),",
        ]
    return ["# containers=Containers(),  # Docker, with NVIDIA's toolkit where there is a card"]


def _wake(survey: Survey) -> list[str]:
    card = network_cards.chosen(survey.network, WakeOnLan())
    if card is None:
        return [
            "# Wake-on-LAN: no card of its own was found that a packet could come through.",
            "wake_on_lan=None,",
        ]
    if why := network_cards.left_out(card, WakeOnLan()):
        return [*remark(why), "wake_on_lan=None,"]
    return [f"# Wake-on-LAN: {card.name} ({card.mac}) is armed; `deeprig wake` sends the packet."]


def others(survey: Survey) -> list[Device]:
    """The disks that the system is not on, as far as they can be told apart."""
    return [
        device
        for device in survey.disks.devices
        if device.type == "disk"
        and device.size > GB
        and not any(mount in disks.SYSTEM for one in device.all() for mount in one.mounts)
    ]


def said(device: Device, survey: Survey) -> str:
    """A disk in words: its path, size, what is on it, and its name in the settings."""
    all_disks = survey.disks
    if disks.empty(device, all_disks):
        return f"{device.path}, {size(device)}, empty, serial {device.serial or 'unknown'}"
    alone = disks.alone(device)
    named = f", UUID {alone.uuid}" if alone else ""
    return f"{device.path}, {size(device)}, {disks.contents(device)}{named}"


def size(device: Device) -> str:
    terabytes = device.size / 10**12
    return f"{terabytes:.1f} TB" if terabytes >= 1 else f"{device.size / GB:.0f} GB"
