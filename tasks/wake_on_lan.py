"""Wake-on-LAN: the network card powers the box on when a magic packet arrives."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig import operations
from deeprig.errors import DeeprigError
from deeprig.facts import network_cards, wake_memory
from deeprig.facts.network_cards import Network
from deeprig.facts.wake_memory import WakeTarget
from deeprig.operations import files, packages
from deeprig.operations.box_program import SCRIPTS
from deeprig.operations.core import Commands
from deeprig.operations.footprint import Footprint
from deeprig.settings import WakeOnLan
from tasks import base_packages

SCRIPT = f"{SCRIPTS}/wake-on-lan"
UNIT = "deeprig-wake-on-lan.service"
NETWORK_MANAGER = {
    "/etc/NetworkManager/conf.d/50-deeprig-wake-on-lan.conf": "644",
    "/etc/NetworkManager/dispatcher.d/50-deeprig-wake-on-lan": "755",
}
TLP = "/etc/tlp.d/50-deeprig-wake-on-lan.conf"
FOOTPRINT = Footprint(
    files=(
        f"/etc/systemd/system/{UNIT}",
        *NETWORK_MANAGER,
        TLP,
        "/etc/systemd/network/*.link.d/50-deeprig-wake-on-lan.conf",
        "/run/deeprig-wake-on-lan-refused",
    ),
    packages=base_packages.ETHTOOL,
    before=(
        f"card=$(sed -n 's/^ExecStart=.* //p' /etc/systemd/system/{UNIT} 2>/dev/null || true)",
        f"systemctl disable --now -q {UNIT} 2>/dev/null || true",  # it arms the card as it stops
        f'[ -z "$card" ] || [ "$({SCRIPT} state $card)" != armed ] || ethtool -s "$card" wol d',
    ),
)


@deploy("Wake-on-LAN")
def enable(settings: WakeOnLan, network: Network) -> None:
    """Arm the card now, at every boot, and before the power goes off; its name stays."""
    card = network_cards.chosen(network, settings)
    if card is None:
        return
    if why := network_cards.left_out(card, settings):
        _tell(name="Leave a card alone that cannot wake the box", line=why)
        return

    packages.install(name="Install ethtool", packages=list(base_packages.ETHTOOL))
    ours = network_cards.drop_in(card)
    if ours:
        files.write(ours, template="/etc/systemd/network/wake-on-lan.conf", card=card)
    for old in network.armed_by:
        if old != ours:  # another file wins by now
            files.remove(name=f"No {old}", path=old)
    if network.network_manager:
        for path, mode in NETWORK_MANAGER.items():
            files.write(path, mode=mode, card=card)
    if network.tlp:
        files.copy(TLP)
    files.units(UNIT, card=card)
    operations.enable(name="Arm it at every boot and before power-off", unit=UNIT)
    operations.converge(
        name=f"Arm {card.name} now", command=SCRIPT, arguments=shlex.quote(card.name)
    )
    if box := wake_memory.of(network, settings):
        _remember(name="Remember here how to wake it", box=box)


def record(settings: WakeOnLan | None, network: Network) -> dict[str, Any] | None:
    """What the manifest keeps of the card, so that the box can be woken when nobody can ask it."""
    card = network_cards.chosen(network, settings) if settings else None
    if settings is None or card is None or network_cards.left_out(card, settings):
        return None
    return {"interface": card.name, "mac": card.mac, "managed_by": card.manager}


@operation()
def _remember(box: WakeTarget) -> Commands:
    """Have the card's address on the machine that deploys, for `deeprig wake`."""
    data = host.data.dict()
    file = wake_memory.file_of(data)
    name = wake_memory.name_of({"ssh_hostname": host.name} | data)
    with suppress(DeeprigError):  # then it is written anew
        if wake_memory.find(file, name) == box:
            host.noop(f"{file} has it")
            return
    yield operations.Step(_keep, file, name, box)


def _keep(state: State, host: Host, file: Path, name: str, box: WakeTarget) -> bool:
    try:
        wake_memory.keep(file, name, box)
    except DeeprigError as error:  # the box is as it shall be all the same
        operations.say(host, str(error))
    return True


@operation()
def _tell(line: str) -> Commands:
    """Say one line, once in a run, and change nothing."""
    if host.state.is_executing:
        operations.say(host, line)
    host.noop(line)
    yield from ()
