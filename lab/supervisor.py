"""The mains of one container: it starts the machine again after each reboot, until it is off.

Run by `container.power_on` in a session, control group and mount namespace of its own.
"""

import subprocess
import sys
from pathlib import Path

from lab import cgroups, network, shell

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    # /tmp is the system's own business: on disk up to Debian 12, in memory from 13 on.
    "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
    # The network is the box's own, so are its sysctls; ufw and systemd-networkd set some.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
# systemd-nspawn's exit status when the guest asked for a reboot rather than a power-off.
REBOOT = 133


def main() -> None:
    """`python -m lab.supervisor NAME IMAGE FOLDER ADDRESS`."""
    name, image, folder, address = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    cgroups.enter(name, "supervisor")
    cgroups.pass_on()
    cgroups.pass_on(name)
    _mount(image, folder)
    while _run_until_off(name, folder, address) == REBOOT:
        cgroups.remove(name, "machine")


def _mount(image: Path, folder: Path) -> None:
    layers = f"lowerdir={image},upperdir={folder}/upper,workdir={folder}/work,index=off"
    shell.run("mount", "-t", "overlay", "overlay", "-o", layers, f"{folder}/root")
    # systemd-nspawn wants a memory-backed /run/systemd, and the guest nothing but cgroup2.
    Path("/run/systemd").mkdir(exist_ok=True)
    shell.run("mount", "-t", "tmpfs", "tmpfs", "/run/systemd")
    shell.run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")


def _run_until_off(name: str, folder: Path, address: str) -> int:
    """One boot, in a new network namespace: a reboot forgets firewall rules and addresses."""
    group = cgroups.group(name, "machine")
    group.mkdir()
    start = f'echo $$ > {group}/cgroup.procs && read go && exec "$@" < /dev/null'
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", start, "sh", *_nspawn(name, folder)],
        stdin=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as machine:
        network.attach(address, machine.pid)
        machine.communicate("go\n")
    return machine.returncode


def _nspawn(name: str, folder: Path) -> list[str]:
    return [
        "systemd-nspawn",
        "--boot",
        f"--directory={folder}/root",
        f"--machine={name}",
        f"--bind={folder}/data-disk:/mnt/data-disk",
        "--network-namespace-path=/proc/self/ns/net",
        "--capability=CAP_NET_ADMIN",
        # Docker gives each container a keyring and a filter for devices.
        "--system-call-filter=@keyring bpf",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        "--register=no",
        "--keep-unit",
    ]


if __name__ == "__main__":
    main()
