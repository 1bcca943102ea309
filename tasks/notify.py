"""Word to a person when the box needs one: a timer looks, and what it finds is sent."""

import json

from pyinfra.api.deploy import deploy

from deeprig import catalog, operations
from deeprig.operations import files
from deeprig.operations.box_program import BOX
from deeprig.operations.footprint import Footprint

WATCH = f"{BOX} watch"
CONF = "/etc/deeprig/notify.conf"
STATE = "/var/lib/deeprig/watch.json"
SERVICE, TIMER = "deeprig-watch.service", "deeprig-watch.timer"
XIDS = "/etc/deeprig/gpu-xids.json"

FOOTPRINT = Footprint(
    files=(
        *(f"/etc/systemd/system/{unit}" for unit in (SERVICE, TIMER)),
        *(CONF, XIDS, STATE, STATE.replace(".json", ".lock")),
    ),
    units=(TIMER, SERVICE),
)


@deploy("Notifications")
def provide(to: str, relay: str | None) -> None:
    """A test message when this is new, and from then on word of what needs a person."""
    xids = catalog.load("gpu_errors")["xids"]
    files.put(name=f"Write {XIDS}", dest=XIDS, content=json.dumps(xids, indent=2))
    files.write(CONF, mode="600", to=to, relay=relay)
    files.units(SERVICE, TIMER)
    operations.shell(
        name="Send a test message",
        unless=f"{WATCH} --check",
        commands=[f"{WATCH} --test"],
    )
    operations.enable(name="Look every quarter of an hour", unit=TIMER)
