"""The box's card armed once more before the power goes off, and remembered here."""

import shlex
from typing import Any

import paramiko

from deeprig.errors import DeeprigError
from deeprig.facts import network_cards, survey, wake_memory
from deeprig.settings import WakeOnLan
from deeprig.ssh import root_shell
from deeprig.ssh.box_source import SCRIPTS
from deeprig.ui import screen

ARM = f"{SCRIPTS}/wake-on-lan"
UNIT = "/etc/systemd/system/deeprig-wake-on-lan.service"
SECONDS = 60


def arm(transport: paramiko.Transport, host_data: dict[str, Any], settings: WakeOnLan) -> str:
    """Why no packet will wake the box, in words; empty where its card is armed and remembered."""
    answer = root_shell.run(transport, "sudo -n sh -s", stdin=network_cards.SCRIPT, seconds=SECONDS)
    surveyed = survey.read(answer.out.splitlines())
    if surveyed.strange:
        return surveyed.strange[0].rstrip(".")
    network = surveyed.network
    box, card = wake_memory.of(network, settings), network_cards.chosen(network, settings)
    if box is None or card is None:
        return "it has no card that a packet could wake it through"
    name = shlex.quote(card.name)
    tried = root_shell.run(
        transport,
        f"[ -e {UNIT} ] && [ -x {ARM} ] || {{ echo not deployed; exit 0; }}; "
        f"sudo -n {ARM} arm {name} && sudo -n {ARM} state {name}",
        seconds=SECONDS,
    )
    try:
        wake_memory.keep(wake_memory.file_of(host_data), wake_memory.name_of(host_data), box)
    except DeeprigError as error:
        screen.echo(error, err=True)
    lines = tried.out.strip().splitlines() or [tried.last_words]
    if lines[-1] == "armed":
        return ""
    if lines[-1] == "not deployed":
        return f"nothing arms its card {card.name}; deploy with wake_on_lan=WakeOnLan() first"
    return lines[0].rstrip(".")
