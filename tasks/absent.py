"""Components that are taken out again: `Rig.absent` is the only switch."""

from pyinfra.api.deploy import deploy

from deeprig.operations import footprint
from deeprig.operations.footprint import Footprint
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tasks import (
    containers,
    cuda,
    driver_absent,
    notebook,
    notify,
    python_env,
    storage_absent,
    wake_on_lan,
)


@deploy("Absent")
def take_out(rig: Rig, plan: StackPlan) -> None:
    """Back to the state before them, what stands on others first.

    The firewall goes with the way in, which is proved without it (tasks/access.py), and cards come
    back where they are given (tasks/passthrough.py).
    """
    for name, left in of_all(rig, plan).items():
        if name in rig.absent:
            footprint.take_out(name, left)


def of_all(rig: Rig, plan: StackPlan) -> dict[str, Footprint]:
    """What each component leaves on a box, in the order in which they can go."""
    return {
        "notify": notify.FOOTPRINT,
        "wake_on_lan": wake_on_lan.FOOTPRINT,
        "notebook": notebook.FOOTPRINT,
        "python": python_env.FOOTPRINT,
        "containers": containers.FOOTPRINT,
        "cuda": cuda.footprint(
            repository_stays=bool(rig.driver and plan.driver_source == "nvidia")
        ),
        "driver": driver_absent.footprint(repository_stays=rig.cuda is not None),
        "storage": storage_absent.FOOTPRINT,
    }
