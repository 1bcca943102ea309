"""What moves the driver on a box, and takes it back; nothing moves by itself."""

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from deeprig import operations
from deeprig.operations import apt_components, files
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, StreamedCommand
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tasks import base, boot_guard, driver, nvidia_repository

MOVE = f"{BOX} driver-move"
UNIT = "deeprig-driver-move.service"


@deploy("Driver moves")
def provide(plan: StackPlan) -> None:
    """The unit that goes on after a power cut; the rest is the program's."""
    if not plan.driver_packages:
        return
    files.units(UNIT)
    operations.enable(name="Go on at boot where a move was cut off", unit=UNIT, start=False)


@deploy("Driver move")
def prepare(plan: StackPlan, rig: Rig, secure_boot: bool) -> None:
    """All that a move to this plan needs; the driver itself stays where it is."""
    base.have_program()
    boot_guard.watch(plan=plan)
    provide(plan=plan)
    _take(name="Keep the way back: what stands, and a .deb of each package")
    files.put(
        name=f"Write {driver.WANTED}",
        dest=driver.WANTED,
        content=driver.for_the_box(plan, secure_boot=secure_boot),
    )
    if plan.repository:
        nvidia_repository.provide(plan=plan, driver=rig.driver, cuda=rig.cuda)
    if plan.driver_source == "distro":
        apt_components.enable(
            name="Have the archive's parts for drivers",
            package=plan.driver_packages[0],
        )


@operation(is_idempotent=False, idempotent_notice="It notes what stands now.")
def _take() -> Commands:
    yield StreamedCommand(f"{MOVE} take")
