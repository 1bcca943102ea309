"""NVIDIA's driver without a desktop: modules proved for every kernel, then held where they are."""

import json
import re

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig.stack import Plan
from tasks import apt_components, config_files, operations, packages
from tasks.facts import Shell
from tasks.operations import Commands, Watched

SCRIPTS = "/usr/local/lib/deeprig"
DRIVER_SET = f"{SCRIPTS}/driver-set"
PLAN = "/etc/deeprig/driver.json"
NOUVEAU = "/etc/modprobe.d/50-deeprig-nouveau.conf"
PERSISTENCED = "/etc/systemd/system/nvidia-persistenced.service.d/50-deeprig.conf"
UPDATES = "/etc/apt/apt.conf.d/deeprig-driver.conf"
COMPONENTS = ["contrib", "non-free", "non-free-firmware"]


@deploy("NVIDIA driver")
def install(plan: Plan) -> None:
    """The planned driver, its modules proved, nouveau out of the way, nothing moves by itself."""
    if not plan.driver_packages:
        operations.say(host, f"No driver: {plan.reasons['driver_branch']}.")
        return
    apt_components.enable(
        name="Have the archive's non-free parts",
        components=COMPONENTS,
        package=plan.driver_packages[0],
    )
    packages.install(name="Install the kernels' headers", packages=list(plan.headers))
    config_files.copy(f"{SCRIPTS}/driver_proof.py")
    config_files.copy(DRIVER_SET, mode="755")
    operations.put(name=f"Write {PLAN}", dest=PLAN, content=_for_the_box(plan))
    config_files.copy(PERSISTENCED)
    _stand(name="Install the driver, with modules for every kernel")

    config_files.copy(NOUVEAU)
    operations.bring_about(
        name="Keep nouveau out of the initramfs",
        holds=initramfs_is_fine(),
        commands=["update-initramfs -u -k all"],
    )
    _hold(name="Hold the driver, package by package", built_from=list(plan.built_from))
    _load(name="Load the modules, or say that a reboot is owed")
    unit = "nvidia-persistenced.service"
    operations.bring_about(
        name="Have the persistence daemon wait for a card",
        holds=f'[ "$(systemctl show -p NeedDaemonReload --value {unit})" = no ] && '
        f"! systemctl is-failed -q {unit} && echo fine",
        commands=["systemctl daemon-reload", f"systemctl restart {unit}"],
    )


def _for_the_box(plan: Plan) -> str:
    """The plan as driver_proof.py reads it."""
    return json.dumps(
        {
            "branch": plan.driver_branch,
            "flavour": plan.module_flavour,
            "module": plan.module,
            "packages": plan.driver_packages,
            "built_from": plan.built_from,
        },
        indent=2,
    )


@operation()
def _stand() -> Commands:
    """Have the whole driver, proved; it is not touched where it is already."""
    found = host.get_fact(Shell, script=f"{DRIVER_SET} state")
    if found.startswith("ok "):
        host.noop(found)
        return
    yield Watched(f"{DRIVER_SET} install")


def initramfs_is_fine() -> str:
    """Prints a line where no initramfs could load nouveau: it is not in, or the blacklist is."""
    return (
        "command -v lsinitramfs >/dev/null || { echo 'no initramfs-tools here'; exit; }; "
        "for i in /boot/initrd.img-*; do [ -e $i ] || continue; "
        r"lsinitramfs $i 2>/dev/null | grep -qE '/(nouveau|nova[-_]core)\.ko' || continue; "
        f"[ $i -nt {NOUVEAU} ] || exit 1; done; echo fine"
    )


class PackagesBuiltFrom(FactBase[list[str]]):
    """The installed packages that come from these source packages."""

    default = list

    def command(self, sources: list[str]) -> str:
        return (
            "dpkg-query -W -f '${db:Status-Status} ${source:Package} ${Package}\\n' | "
            f'awk \'$1 == "installed" && index(" {" ".join(sources)} ", " " $2 " ") '
            "{print $3}' | sort -u"
        )

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


@operation()
def _hold(built_from: list[str]) -> Commands:
    """Leave exactly the driver's packages at their version, and have updates leave them alone."""
    names: list[str] = host.get_fact(PackagesBuiltFrom, sources=built_from)
    if not names:
        host.noop("there is no driver yet")
        return
    yield from packages.hold._inner(packages=names)
    yield from operations.put._inner(dest=UPDATES, content=left_alone_by_updates(names))


def left_alone_by_updates(names: list[str]) -> str:
    """unattended-upgrades takes regular expressions for the beginning of a name."""
    exact = [re.sub(r"([.+])", r"[\1]", name) for name in names]
    entries = "".join(f'    "{name}$";\n' for name in exact)
    return (
        "// Written by deeprig (tasks/driver.py): edit it there.\n"
        "// A library that moves under a loaded module breaks every program that uses the GPU.\n"
        f"Unattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"
    )


@operation()
def _load() -> Commands:
    """Load the modules where nothing holds the cards; a reboot is left to a person."""
    found = host.get_fact(Shell, script=f"{DRIVER_SET} in-use")
    if found == "load":
        yield StringCommand("modprobe nvidia && modprobe nvidia-uvm")
        return
    if found.startswith("reboot: ") and host.state.is_executing:
        operations.say(host, f"A reboot is owed: {found.removeprefix('reboot: ')}.")
    host.noop(found or "there is no driver yet")
