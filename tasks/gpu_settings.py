"""What the driver is told: cards kept awake, power limits, module options, nvidia-uvm at boot."""

import json

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.operations import files
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands
from deeprig.parsers import kernel_modules
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Driver

PERSISTENCED = "nvidia-persistenced.service"
PERSISTENCE = f"/etc/systemd/system/{PERSISTENCED}.d/50-deeprig.conf"
NODES, LIMITS = "deeprig-gpu-nodes.service", "deeprig-power-limits.service"
POWER_LIMITS = f"{BOX} power-limits"
WATTS = "/etc/deeprig/power-limits.json"
OPTIONS = "/etc/modprobe.d/50-deeprig-nvidia.conf"
FABRIC_MANAGER = "nvidia-fabricmanager.service"
FABRIC_MODULES = "/etc/modules-load.d/deeprig-fabric.conf"
UMAD = "/sys/class/infiniband_mad/abi_version"


@deploy("GPU settings")
def wait_for_a_card() -> None:
    """The persistence daemon's drop-in, before its package starts it where no module loads."""
    files.copy(PERSISTENCE)


@deploy("GPU settings")
def provide(settings: Driver, plan: StackPlan) -> None:
    """Persistence really on; limits and options as set. MIG, ECC, compute mode stay as they are."""
    if not plan.driver_packages:
        return
    limits = [{"gpu": limit.gpu, "watts": limit.watts} for limit in settings.power_limits]
    files.put(name=f"Write {WATTS}", dest=WATTS, content=json.dumps(limits, indent=2))
    files.units(NODES, LIMITS)
    operations.shell(
        name="Keep the cards awake, from boot on",
        unless=awake(),
        commands=[
            "systemctl daemon-reload",
            f"systemctl add-wants multi-user.target {PERSISTENCED}",
            f"systemctl restart {PERSISTENCED}",
        ],
    )
    for unit in (NODES, LIMITS):
        operations.enable(name=f"Have {unit} run at boot", unit=unit, start=False)
    operations.shell(
        name="Have the device files now",
        unless=f"[ -e /sys/module/nvidia ] && ! systemctl is-active -q {NODES} || echo fine",
        commands=[f"systemctl start {NODES}"],
    )
    _limit_power(name="Set the power limits")
    _options(settings, plan)
    if "nvlsm" in plan.driver_packages:
        files.copy(FABRIC_MODULES)
        operations.shell(
            name="Load what the subnet manager speaks through",
            unless=f"{{ [ -e {UMAD} ] || ! modprobe -qn ib_umad; }} && echo fine",
            commands=["modprobe ib_umad"],
        )
    if any("fabricmanager" in package for package in plan.driver_packages):
        operations.enable(name="Run the fabric manager", unit=FABRIC_MANAGER, start=False)
        operations.shell(
            name="Start the fabric manager beside the modules that are loaded",
            unless=fabric_waits(),
            commands=[f"systemctl start --no-block {FABRIC_MANAGER}"],
        )


def fabric_waits() -> str:
    """Prints a line where the fabric manager runs, or could not: it wants modules of its version.

    One that has failed is verify's to tell of.
    """
    return (
        f'{{ [ "$(systemctl is-active {FABRIC_MANAGER})" != inactive ] || '
        "[ ! -e /sys/module/nvidia ] || "
        '[ "$(cat /sys/module/nvidia/version)" != "$(modinfo -F version nvidia)" ]; } && echo fine'
    )


def awake() -> str:
    """Prints a line where the daemon is as it should be: keeping cards awake, or without a card."""
    return (
        f"u={PERSISTENCED}; [ -e /etc/systemd/system/multi-user.target.wants/$u ] && "
        f'[ "$(systemctl show -p NeedDaemonReload --value $u {NODES} {LIMITS} | sort -u | xargs)" '
        "= no ] && ! systemctl is-failed -q $u && "
        "{ systemctl is-active -q $u || [ ! -e /sys/module/nvidia ]; } && "
        "! grep -qs no-persistence-mode /proc/$(systemctl show -P MainPID $u)/cmdline && echo fine"
    )


class PowerLimits(BoxFact[list[str]]):
    """What the script on the box says of them: a state, then what cannot be had."""

    default = list

    def command(self) -> str:
        return f"[ ! -e {WATTS} ] || [ ! -x {BOX} ] || {POWER_LIMITS} --check"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


@operation()
def _limit_power() -> Commands:
    """Bring the limits about that can be had, and say which cannot; the rest of the box goes on."""
    state, *refused = host.get_fact(PowerLimits) or ["there is no driver yet"]
    if host.state.is_executing:
        for sentence in refused:
            operations.say(host, sentence, wrong=True)
    if state == "owed":
        yield StringCommand(f"systemctl restart {LIMITS}", "|| true" if refused else "")
        return
    host.noop(state)


def _options(settings: Driver, plan: StackPlan) -> None:
    """The module's options, in force from its next load on."""
    if not settings.module_options:
        files.remove(name=f"Remove {OPTIONS}", path=OPTIONS)
        return
    lines = [f"options {plan.module} {option}" for option in settings.module_options]
    head = "# Written by deeprig (tasks/gpu_settings.py), from Driver.module_options."
    files.put(name=f"Write {OPTIONS}", dest=OPTIONS, content="\n".join([head, *lines]))
    operations.shell(
        name="Have the initramfs know the module's options",
        unless=initramfs_knows(),
        commands=["update-initramfs -u -k all"],
    )
    _say_from_when(
        name="Say from when the module's options hold", options=list(settings.module_options)
    )


def initramfs_knows() -> str:
    """Prints a line where no initramfs holds the module but not its options."""
    return (
        "command -v lsinitramfs >/dev/null || { echo 'no initramfs-tools here'; exit; }; "
        f"for i in /boot/initrd.img-*; do [ -e $i ] && [ ! $i -nt {OPTIONS} ] || continue; "
        r"lsinitramfs $i 2>/dev/null | grep -qE '/nvidia[^/]*\.ko' && exit 1; done; echo fine"
    )


class ModuleParameters(BoxFact[dict[str, str]]):
    """What the loaded module runs with; nothing where none is loaded."""

    default = dict

    def command(self) -> str:
        return f"cat {kernel_modules.PARAMETERS} 2>/dev/null || true"

    def process(self, output: list[str]) -> dict[str, str]:
        return kernel_modules.parameters("\n".join(output))


@operation()
def _say_from_when(options: list[str]) -> Commands:
    """A module that was loaded before its options were written runs without them."""
    waiting = kernel_modules.pending_options(options, host.get_fact(ModuleParameters))
    if waiting and host.state.is_executing:
        sentence = f"{', '.join(waiting)}: from the module's next load on, such as after a reboot."
        operations.say(host, sentence)
    host.noop("there is nothing to run")
    yield from ()
