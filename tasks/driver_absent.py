"""What a driver leaves on a box: its packages and what holds, proves, guards and moves them."""

from deeprig.operations import apt_repositories, box_program, packages
from deeprig.operations.footprint import Footprint
from tasks import boot_guard, driver, driver_move, gpu_settings, nvidia_repository

STATE = "/var/lib/deeprig"
BROUGHT = f"{STATE}/driver-brought"  # by driver-set
ASK = box_program.command(
    "from deeprig_box.nvidia import driver; print(*driver.driver_set(), sep='\\n')"
)
SET = f"{{ cat {BROUGHT}; {ASK}; }} 2>/dev/null"


def footprint(*, repository_stays: bool) -> Footprint:
    """What it leaves; NVIDIA's repository stays where CUDA comes from there."""
    return Footprint(
        files=(
            driver.NOUVEAU,
            gpu_settings.OPTIONS,
            gpu_settings.PERSISTENCE,
            gpu_settings.WATTS,
            gpu_settings.FABRIC_MODULES,
            *(f"/etc/systemd/system/{unit}" for unit in _units()),
            *(driver.AFTER_UPDATE, driver.MOTD, driver.UPDATES),
            *("/etc/deeprig/driver.json", driver.WANTED),
            "/etc/apt/sources.list.d/deeprig-nonfree.sources",
            *(boot_guard.AFTER_DPKG, boot_guard.MOTD, boot_guard.PIN, boot_guard.KEEP),
            *(
                *boot_guard.HOOKS,
                *boot_guard.BUILDERS,
                "$(grep -ls '^# Written by deeprig' /etc/dkms/*)",
            ),
            boot_guard.RECORD,
            boot_guard.RECORD.replace(".json", ".motd"),
            f"{STATE}/driver-*",
            "/var/log/deeprig/driver*",
        ),
        units=(*_units(), gpu_settings.PERSISTENCED),
        packages=("linux-headers-.*", "dkms", "gcc-.*"),
        brought=SET,
        before=(
            f"[ ! -e {boot_guard.AFTER_DPKG} ] || {boot_guard.GUARD} lift",
            f"rm -f {boot_guard.AFTER_DPKG} {driver.AFTER_UPDATE}",  # they look after each dpkg
            f'held=$({SET}); [ -z "$held" ] || apt-mark -q unhold $held >/dev/null',
            # apt keeps the headers of a kernel that it keeps, though nobody needs them.
            f"! grep -qs '^package linux-headers-' {packages.BROUGHT} || {packages.APT_GET} purge "
            "$(dpkg-query -W -f '${db:Status-Status} ${Package}\\n' 'linux-headers-*' | "
            "sed -n 's/^installed //p')",
            *(() if repository_stays else (apt_repositories.removal(nvidia_repository.NAME),)),
        ),
        after=(
            "[ ! -d /etc/dkms ] || dpkg -S /etc/dkms >/dev/null 2>&1 || "
            "rmdir --ignore-fail-on-non-empty /etc/dkms",
            "! command -v update-initramfs >/dev/null || update-initramfs -u -k all",
        ),
        work="[*on_a_card(there), *jobs(there)]",
        notice="modules that are loaded stay so until the next boot, and no reboot is made for it",
    )


def _units() -> tuple[str, ...]:
    return (boot_guard.UNIT, driver_move.UNIT, gpu_settings.NODES, gpu_settings.LIMITS)
