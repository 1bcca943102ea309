"""A guard on the box: the boot loader stays on a kernel whose driver module is proved."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import operations
from deeprig.operations import files, managed_files
from deeprig.operations.box_program import BOX
from deeprig.resolver.resolve import StackPlan

GUARD, GATE = f"{BOX} boot-guard", f"{BOX} reboot-gate"
HOOKS = [
    f"/etc/kernel/{moment}.d/zzz-deeprig-guard"
    for moment in ("preinst", "postinst", "postrm", "header_postinst")
]
BUILDERS = [f"/etc/kernel/{moment}.d/dkms-deeprig" for moment in ("postinst", "header_postinst")]
AFTER_DPKG = "/etc/apt/apt.conf.d/deeprig-guard.conf"
MOTD = "/etc/update-motd.d/60-deeprig"
UNIT = "deeprig-boot-guard.service"
PIN = "/etc/default/grub.d/deeprig-guard.cfg"
RECORD = "/var/lib/deeprig/boot-guard.json"
NOT_BY_DKMS = 'AUTOINSTALL=""'
KEEP = "/etc/apt/apt.conf.d/deeprig-kernels.conf"


@deploy("Boot guard")
def watch(plan: StackPlan) -> None:
    """Whatever kernel comes, and whoever brings it: the box boots one that has the driver."""
    if not plan.driver_packages:
        return
    for hook in (*HOOKS, *BUILDERS):
        files.copy(hook, mode="755")
    if plan.modules == "dkms":
        _take_over_from_dkms(plan.dkms_name)
    files.copy(AFTER_DPKG)
    files.copy(MOTD, mode="755")
    files.units(UNIT)
    operations.enable(name="Look at every boot, and before power-off", unit=UNIT)
    operations.converge(
        name="Look which kernel boots next, and whether it has the driver", command=GUARD
    )


def _take_over_from_dkms(name: str) -> None:
    """`boot-guard build` builds in the kernel's hooks, and never fails a kernel's installation."""
    path = f"/etc/dkms/{name}.conf"
    if path in managed_files.of_others(path):
        operations.say(
            host,
            f"{path} is not deeprig's and stays as it is; write {NOT_BY_DKMS} into it, or a kernel "
            "for which the driver does not build is left half installed.",
        )
        return
    files.write(path, template="/etc/dkms/module.conf")


def if_there(verb: str) -> str:
    """Ask it on boxes that have it."""
    return f"{{ [ ! -e /etc/systemd/system/{UNIT} ] || [ ! -x {BOX} ] || {GATE} {verb}; }}"
