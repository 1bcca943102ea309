"""NVIDIA's driver without a desktop: modules proved for every kernel, then held where they are."""

import json
import re

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.operations import apt_components, box_program, files, packages
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, StreamedCommand
from deeprig.operations.facts import Shell
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tasks import gpu_settings, nvidia_repository

DRIVER_SET = f"{BOX} driver-set"
WANTED = "/etc/deeprig/driver-wanted.json"
NOUVEAU = "/etc/modprobe.d/50-deeprig-nouveau.conf"
AFTER_UPDATE = "/etc/apt/apt.conf.d/deeprig-waiting.conf"
MOTD = "/etc/update-motd.d/61-deeprig-driver"
UPDATES = "/etc/apt/apt.conf.d/deeprig-driver.conf"


@deploy("NVIDIA driver")
def install(plan: StackPlan, rig: Rig, secure_boot: bool = False) -> None:
    """The planned driver, its modules proved, nouveau out of the way, nothing moves by itself."""
    if not plan.driver_packages:
        operations.say(host, f"No driver: {plan.reasons['driver_branch']}.")
        return
    files.put(
        name=f"Write {WANTED}", dest=WANTED, content=for_the_box(plan, secure_boot=secure_boot)
    )
    operations.converge(
        name="See that no other driver is in the way", command=f"{BOX} driver-may-come"
    )
    if plan.repository:
        nvidia_repository.provide(plan=plan, driver=rig.driver, cuda=rig.cuda)
    if plan.driver_source == "distro":
        apt_components.enable(
            name="Have the archive's parts for drivers",
            package=plan.driver_packages[0],
        )
    if plan.headers:
        _have_headers(name="Install the kernels' headers")
    gpu_settings.wait_for_a_card()
    operations.converge(
        name="Install the driver, with modules for every kernel", command=DRIVER_SET
    )

    files.copy(NOUVEAU)
    operations.shell(
        name="Keep nouveau out of the initramfs",
        unless=initramfs_is_fine(),
        commands=["update-initramfs -u -k all"],
    )
    _hold(name="Hold the driver, package by package")
    files.copy(AFTER_UPDATE)
    files.copy(MOTD, mode="755")
    operations.converge(
        name="Load the modules, or say that a reboot is owed", command=f"{BOX} driver-load"
    )


def for_the_box(plan: StackPlan, *, secure_boot: bool) -> str:
    """The plan as driver_proof.py reads it."""
    return json.dumps(
        {
            "branch": plan.driver_branch,
            "source": plan.driver_source,
            "flavour": plan.module_flavour,
            "modules": plan.modules,
            "module": plan.module,
            "dkms_name": plan.dkms_name,
            "library": plan.library,
            "packages": plan.driver_packages,
            "headers": plan.headers,
            "pin": plan.pin,
            "pins": plan.pins,
            "shut_out": plan.shut_out,
            "kernel_metapackages": plan.kernel_metapackages,
            "secure_boot": secure_boot,
        },
        indent=2,
    )


@operation()
def _have_headers() -> Commands:
    """The kernels' headers, of the version of their images."""
    lacking = host.get_fact(Shell, script=f"{DRIVER_SET} headers")
    if lacking == "ok":
        host.noop("they are there")
        return
    if lacking:  # else the script itself is yet to come, in a dry run
        yield packages.note([name.partition("=")[0] for name in lacking.split()])
    yield StreamedCommand(f"{DRIVER_SET} have-headers")


def initramfs_is_fine() -> str:
    """Prints a line where no initramfs could load nouveau or nova: they are not in, or off."""
    return (
        "command -v lsinitramfs >/dev/null || { echo 'no initramfs-tools here'; exit; }; "
        "for i in /boot/initrd.img-*; do [ -e $i ] || continue; "
        r"lsinitramfs $i 2>/dev/null | grep -qE '/(nouveau|nova[-_](core|drm))\.ko' || continue; "
        f"[ $i -nt {NOUVEAU} ] || exit 1; done; echo fine"
    )


class DriverSet(BoxFact[list[str]]):
    """The installed packages that move together with the driver."""

    default = list

    def command(self) -> str:
        ask = "from deeprig_box.nvidia import driver as d; print('\\n'.join(d.driver_set()))"
        return f"{box_program.command(ask)} 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


@operation()
def _hold() -> Commands:
    """Leave exactly the driver's packages at their version, and have updates leave them alone."""
    names: list[str] = host.get_fact(DriverSet)
    if not names:
        host.noop("there is no driver yet")
        return
    yield from packages.hold._inner(packages=names)
    yield from files.put._inner(dest=UPDATES, content=left_alone_by_updates(names))


def exactly(name: str) -> str:
    """unattended-upgrades takes regular expressions for the beginning of a name."""
    return re.sub(r"([.+])", r"[\1]", name) + "$"


def left_alone_by_updates(names: list[str]) -> str:
    """What has unattended-upgrades leave these alone, and nothing whose name begins so."""
    entries = "".join(f'    "{exactly(name)}";\n' for name in names)
    return (
        "// Written by deeprig (tasks/driver.py): edit it there.\n"
        "// A library that moves under a loaded module breaks every program that uses the GPU.\n"
        f"Unattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"
    )
