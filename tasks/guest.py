"""A guest of the box, which gets the cards that were given away: libvirt, QEMU, a cloud image."""

import hashlib
import json
import uuid
from typing import Any

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.facts import passthrough
from deeprig.facts.pci import PciDevice
from deeprig.operations import files, packages
from deeprig.operations.box_program import BOX
from deeprig.settings.passthrough import Guest

SCRIPT = f"{BOX} passthrough-guest"
PAGES = "/etc/sysctl.d/50-deeprig-passthrough.conf"
DEFINITION, ASKED = "/etc/deeprig/guest.xml", "/etc/deeprig/guest.json"
SEED = ("/etc/deeprig/guest-user-data", "/etc/deeprig/guest-meta-data")
FILES = (PAGES, DEFINITION, *SEED, ASKED)
# NVIDIA's drivers since then work in a virtual machine that says what it is.
FIRST_OPEN_EYED_DRIVER = 465


@deploy("Guest")
def provide(guest: Guest, going: tuple[PciDevice, ...]) -> None:
    """The guest on its own disk, defined with the cards, up with the box."""
    packages.install(
        name="Install what runs guests", packages=catalog.load("packages")["guest"], watched=True
    )
    if guest.huge_pages:
        files.write(PAGES, pages=-(-guest.memory_mib // 2))
    identity = f"{host.name}/{guest.name}"
    files.write(DEFINITION, **values(guest, going, identity=identity))
    files.write(SEED[0], guest=guest)
    files.put(
        name=f"Write {SEED[1]}",
        dest=SEED[1],
        content=f"instance-id: {guest.name}\nlocal-hostname: {guest.name}\n",
    )
    about = {key: getattr(guest, key) for key in ("name", "image", "sha256", "disk_gib")}
    files.put(name=f"Write {ASKED}", dest=ASKED, content=json.dumps(about, indent=2))
    operations.converge(
        name="Have the guest defined, and running where its cards are there", command=SCRIPT
    )


def values(guest: Guest, going: tuple[PciDevice, ...], *, identity: str) -> dict[str, Any]:
    """What the guest's definition is rendered with; the same for the same box and name."""
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return {
        "guest": guest,
        "devices": going,
        "uuid": uuid.uuid5(uuid.NAMESPACE_URL, f"deeprig:guest/{identity}"),
        "mac": f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}",
        "window_mib": passthrough.window_mib(going),
        "hide_kvm": bool(guest.driver and int(guest.driver) < FIRST_OPEN_EYED_DRIVER),
    }


def rest() -> None:
    """Shut the guest down and have it come up no more; it stays defined, with its disk."""
    operations.shell(
        name="Stop the guest, and leave it defined",
        unless=f"[ -e {ASKED} ] || echo 'it is at rest'",
        commands=[f"{SCRIPT} rest"],
        streamed=True,
    )
