"""What a box will need from its own archive: installed in one transaction, whoever asks for it.

A transaction of its own for each costs a minute on a slow disk. Each component still asks for what
it needs, and finds it there. Only venv goes before: Python's packages come while apt is at work.
"""

from deeprig.facts import network_cards
from deeprig.facts.survey import Survey
from deeprig.settings import Rig

UFW = ("ufw",)
VENV = ("python3-venv",)
SESSIONS = ("tmux", "libpam-systemd", "nftables", "procps")
ETHTOOL = ("ethtool",)


def batched(rig: Rig, survey: Survey) -> list[str]:
    """The packages of all components of this box that come without any preparation."""
    waking = rig.wake_on_lan
    card = network_cards.chosen(survey.network, waking) if waking else None
    armed = waking and card and not network_cards.left_out(card, waking)
    return [
        *(UFW if rig.firewall else ()),
        *(SESSIONS if rig.notebook else ()),
        *(ETHTOOL if armed else ()),
    ]
