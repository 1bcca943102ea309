"""The ground everything stands on: updates without questions, a clock, no sleep."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from deeprig import catalog
from deeprig.settings import Rig
from tests.host import sessions
from tests.host.newcomer import Login

SLEEP = ("sleep", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate")


def apt_setting(host: Host, name: str) -> str:
    return host.check_output("apt-config dump --format '%%v%%n' %s", name).strip()


def test_the_system_still_gets_security_fixes(host: Host) -> None:
    release = host.check_output(". /etc/os-release; echo $ID $VERSION_ID").split()
    systems = [s for s in catalog.load("systems")["system"] if [s["id"], s["version"]] == release]
    assert systems, f"{' '.join(release)} is not in deeprig/catalog/systems.toml"
    assert systems[0]["until"] > datetime.date.today()


def test_no_package_is_half_installed(host: Host) -> None:
    with host.sudo():
        assert host.check_output("dpkg --audit") == ""


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_security_updates_come_every_day(host: Host) -> None:
    assert apt_setting(host, "APT::Periodic::Unattended-Upgrade") == "1"
    assert host.package("unattended-upgrades").is_installed
    assert host.service("apt-daily-upgrade.timer").is_enabled
    assert host.service("apt-daily-upgrade.timer").is_running


@pytest.mark.parametrize("unit", ["apt-daily", "apt-daily-upgrade"])
def test_updates_go_on_after_one_that_was_cut_off(host: Host, unit: str) -> None:
    before = host.check_output(f"systemctl show -P ExecStartPre {unit}.service")
    assert "dpkg --force-confdef --force-confold --configure -a" in before


def test_an_update_never_reboots_the_box(host: Host) -> None:
    assert apt_setting(host, "Unattended-Upgrade::Automatic-Reboot") == "false"


def test_a_changed_configuration_file_raises_no_question(host: Host) -> None:
    options = host.check_output("apt-config dump Dpkg::Options")
    assert '"--force-confold"' in options
    assert '"--force-confdef"' in options


def test_apt_waits_for_another_apt(host: Host) -> None:
    assert int(apt_setting(host, "DPkg::Lock::Timeout")) >= 600


def test_needrestart_restarts_nothing_and_asks_nothing(host: Host) -> None:
    if not host.package("needrestart").is_installed:
        pytest.skip("needrestart is not installed, so nothing restarts services by itself")
    with host.sudo():
        settings = host.check_output(
            'perl -e \'our %nrconf; do "/etc/needrestart/needrestart.conf"; '
            'print "$nrconf{restart} $nrconf{kernelhints}\\n"; '
            'print grep({"deeprig-notebook.service" =~ $_} keys %{$nrconf{override_rc}}) ? 1 : 0\''
        )
    assert settings.split() == ["l", "-1", "1"]


@pytest.mark.parametrize("target", SLEEP)
def test_the_box_never_goes_to_sleep(host: Host, target: str) -> None:
    assert host.service(f"{target}.target").is_masked


@pytest.mark.remedy("take its line out of the file that logind reads after ours")
@pytest.mark.parametrize("lid", ["", "ExternalPower", "Docked"])
def test_a_laptop_runs_on_with_its_lid_shut(host: Host, lid: str) -> None:
    # The three cases of logind; https://github.com/lxc/incus-os/issues/1229
    said = host.check_output("systemd-analyze cat-config systemd/logind.conf")
    lines = [line for line in said.splitlines() if line.startswith(f"HandleLidSwitch{lid}=")]
    assert lines and lines[-1].partition("=")[2].strip() == "ignore"


def test_the_clock_is_kept_right(host: Host) -> None:
    clocks = catalog.load("packages")["clocks"]
    assert [name for name in clocks if host.package(name).is_installed]
    if host.run("systemd-detect-virt -cq").succeeded:
        pytest.skip("a container has its host's clock; proved on machines with their own")
    synchronised = host.check_output("timedatectl show -p NTPSynchronized --value")
    assert synchronised == "yes", (
        "no time server has set the clock since the boot; `timedatectl timesync-status` says whom "
        "it asks and when again, a minute or more after a boot with a slow network"
    )


def test_the_boot_menu_waits_for_nobody(host: Host) -> None:
    grub = host.file("/boot/grub/grub.cfg")
    if not grub.exists:
        pytest.skip("no GRUB here; proved on machines with a boot loader of their own")
    with host.sudo():
        assert "set timeout=-1" not in grub.content_string
        assert "timeout=30" not in grub.content_string


@pytest.mark.parametrize("tool", ["curl", "git", "htop", "less", "rsync", "tmux", "unzip"])
def test_the_tools_of_every_day_are_there(host: Host, tool: str) -> None:
    assert host.exists(tool)


@pytest.mark.remedy("take LD_LIBRARY_PATH out of /etc/environment, the profiles or ~/.bashrc")
def test_no_library_path_is_set(
    host: Host, rig: Rig, data: dict[str, Any], login: Login, warn: Callable[[str], None]
) -> None:
    """It bends what programs load: the system's cuDNN would come before the one of torch."""
    user = rig.notebook.user if rig.notebook else str(data["ssh_user"])
    served = sessions.SESSIONS if rig.notebook else sessions.WITHOUT_A_NOTEBOOK
    for kind in (*served, *sessions.UNITS):  # one check: one thing is wrong wherever it shows
        try:
            said = sessions.environment(kind, host=host, user=user, login=login)
        except pytest.skip.Exception as unasked:  # the other kinds are looked at all the same
            warn(str(unasked.msg))
            continue
        assert said.get("PATH"), f"a {kind} has no environment to look at"  # the control
        assert "LD_LIBRARY_PATH" not in said, f"a {kind} has it: {said['LD_LIBRARY_PATH']}"
