"""Components that are taken out again: `Rig.absent` is the only switch."""

from pyinfra.api.deploy import deploy

from deeprig.operations import footprint
from deeprig.operations.footprint import Trace
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
    for name, trace in of_all(rig, plan).items():
        if name in rig.absent:
            footprint.take_out(name, trace)


def of_all(rig: Rig, plan: StackPlan) -> dict[str, Trace]:
    """What each component leaves on a box, in the order in which they can go."""
    return {
        "notify": notify.TRACE,
        "wake_on_lan": wake_on_lan.TRACE,
        "notebook": notebook.TRACE,
        "python": python_env.TRACE,
        "containers": containers.TRACE,
        "cuda": cuda.trace(repository_stays=bool(rig.driver and plan.driver_source == "nvidia")),
        "driver": driver_absent.trace(repository_stays=rig.cuda is not None),
        "storage": storage_absent.TRACE,
    }
