"""A boot with new settings: when it is a trial, when it is good, and what is gone back to."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.box_scripts import BOX, loaded

MENU = """\
### BEGIN /etc/grub.d/00_header ###
set default="0"
### END /etc/grub.d/00_header ###
### BEGIN /etc/grub.d/04_deeprig-trial ###
if [ "${deeprig_trial}" = armed ]; then
fi
### END /etc/grub.d/04_deeprig-trial ###
### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian' $menuentry_id_option 'gnulinux-simple-x' {
linux /boot/vmlinuz-6.12.1-amd64 root=UUID=x ro
initrd /boot/initrd.img-6.12.1-amd64
}
### END /etc/grub.d/10_linux ###
"""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with its files in a folder, and a GRUB that does as it is told."""
    with loaded("boot.trial") as script:
        monkeypatch.setattr(script, "STATE", tmp_path / "trial.json")
        monkeypatch.setattr(script, "MOTD", tmp_path / "trial.motd")
        monkeypatch.setattr(script, "WATCHDOG", tmp_path / "watchdog.conf")
        monkeypatch.setattr(script.snapshot, "changed", lambda: script.now)
        monkeypatch.setattr(script.snapshot, "is_kept", lambda: True)
        monkeypatch.setattr(script.snapshot, "keep", lambda: script.now.clear())
        monkeypatch.setattr(script, "why_not", lambda: script.trouble)
        monkeypatch.setattr(script, "mark", lambda: script.marked[-1])
        monkeypatch.setattr(script, "set_mark", lambda value: script.marked.append(value))
        monkeypatch.setattr(script, "run", lambda *command, **_: script.ran.append(command) or "")
        monkeypatch.setattr(script, "anybody", lambda: script.there)
        monkeypatch.setattr(script, "is_up", lambda: script.up)
        monkeypatch.setattr(script, "logins", lambda: script.came_in)
        monkeypatch.setattr(script.snapshot, "restore", lambda: script.now)
        for name, value in {
            "now": ["etc/default/grub.d/60-deeprig-parameters.cfg"], "trouble": "", "marked": [""],
            "ran": [], "there": False, "up": True, "came_in": False,
        }.items():  # fmt: skip
            setattr(script, name, value)
        yield script


def kept(trial: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trial.STATE.read_text())
    return found


def reboot(trial: ModuleType, monkeypatch: pytest.MonkeyPatch, *, minutes: float) -> None:
    """What GRUB does at a boot, and the clock after it."""
    trial.marked.append({"armed": "used", "used": "back"}.get(trial.marked[-1], trial.marked[-1]))
    uptime = trial.STATE.with_name("uptime")
    uptime.write_text(f"{minutes * 60} 0\n")
    paths = {"/proc/uptime": uptime}
    monkeypatch.setattr(trial, "Path", lambda *parts: paths.get(parts[0], Path(*parts)))


def test_what_has_changed_is_booted_on_trial(trial: ModuleType) -> None:
    assert trial.due() == "due"
    trial.arm()
    assert trial.marked[-1] == "armed"
    assert trial.due() == "armed"
    trial.now.append("etc/netplan/50.yaml")
    assert trial.due() == "due"


def test_nothing_is_armed_where_nothing_changed(trial: ModuleType) -> None:
    trial.now = []
    assert trial.due() == "settled"
    trial.arm()
    assert trial.marked[-1] == ""


def test_what_is_changed_back_before_the_boot_is_no_trial_any_more(trial: ModuleType) -> None:
    trial.arm()
    trial.now = []
    assert trial.due() == "due"
    trial.arm()
    assert trial.marked[-1] == ""


def test_a_trial_that_could_not_be_taken_back_is_refused_and_said(
    trial: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    trial.trouble = "GRUB cannot write its mark on /boot, which is on lvm"
    assert trial.due() == trial.trouble
    trial.arm()
    assert trial.marked == [""]
    assert "which is on lvm" in capsys.readouterr().out


def test_a_boot_that_deeprig_waits_for_is_good_once_somebody_is_in(
    trial: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.arm()
    trial.wait()
    reboot(trial, monkeypatch, minutes=3)
    trial.watch()
    assert (trial.marked[-1], trial.ran) == ("used", [])  # up, and nobody came
    trial.came_in = True
    trial.watch()
    assert trial.marked[-1] == ""
    assert kept(trial)["changed"] == []


@pytest.mark.parametrize(
    ("there", "minutes", "goes"), [(False, 14, 0), (False, 16, 1), (True, 60, 0)]
)
def test_it_goes_back_after_a_quarter_of_an_hour_unless_somebody_is_there(
    trial: ModuleType, monkeypatch: pytest.MonkeyPatch, there: bool, minutes: int, goes: int
) -> None:
    trial.arm()
    trial.wait()
    reboot(trial, monkeypatch, minutes=minutes)
    trial.there = there
    trial.watch()
    assert trial.ran.count(("systemctl", "reboot", "--no-block")) == goes
    assert bool(kept(trial)["said"]) == bool(goes)


def test_a_boot_that_nobody_waits_for_is_good_once_it_is_up(
    trial: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut at night: nobody logs in, and that says nothing of the settings."""
    trial.arm()
    reboot(trial, monkeypatch, minutes=60)
    trial.up = False
    trial.watch()
    assert (trial.marked[-1], trial.ran) == ("used", [])
    trial.up = True
    trial.watch()
    assert trial.marked[-1] == ""


def test_after_a_boot_that_did_not_come_up_the_rest_goes_back_as_well(
    trial: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.arm()
    reboot(trial, monkeypatch, minutes=0)
    reboot(trial, monkeypatch, minutes=0)
    trial.back()
    assert ("update-grub",) in trial.ran
    assert ("systemctl", "reboot", "--no-block") not in trial.ran  # the parameters are back by now
    assert "did not come up, so it went back" in kept(trial)["said"]
    trial.now = []
    assert trial.due() == "due"  # the next deploy takes note, and the sentence away
    trial.arm()
    assert kept(trial)["said"] == ""


def test_a_network_that_was_taken_back_is_booted_once_more(
    trial: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.now.append("etc/netplan/50.yaml")
    trial.marked.append("back")
    trial.back()
    assert ("systemctl", "reboot", "--no-block") in trial.ran


def test_the_menu_to_go_back_to_is_no_trial_itself() -> None:
    with loaded("boot.snapshot") as snapshot:
        assert "deeprig_trial" not in snapshot.without_trial(MENU)
        assert "menuentry 'Debian'" in snapshot.without_trial(MENU)


def test_a_menu_without_a_kernel_that_is_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded("boot.grub_trial") as script:
        boot = tmp_path / "boot"
        boot.mkdir()
        monkeypatch.setattr(
            script,
            "Path",
            lambda *parts: boot.joinpath(*parts[1:]) if parts[0] == "/boot" else Path(*parts),
        )
        assert "vmlinuz-6.12.1-amd64, which is not there" in script.unbootable(MENU)
        for name in ("vmlinuz-6.12.1-amd64", "initrd.img-6.12.1-amd64"):
            (boot / name).touch()
        assert script.unbootable(MENU) == ""
        assert "no kernel of this system" in script.unbootable("set default=0\n")


def test_files_are_kept_compared_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded("boot.snapshot") as snapshot:
        root = tmp_path / "root"
        monkeypatch.setattr(snapshot, "KEPT", tmp_path / "kept")
        monkeypatch.setattr(snapshot, "MENU", tmp_path / "grub.cfg")
        monkeypatch.setattr(
            snapshot,
            "Path",
            lambda *parts: root.joinpath(*parts[1:]) if parts[0] == "/" else Path(*parts),
        )
        netplan, parameters = root / "etc/netplan/50.yaml", root / "etc/default/grub.d/60-x.cfg"
        for file in (netplan, parameters):
            file.parent.mkdir(parents=True)
            file.write_text("before")
        netplan.chmod(0o600)
        snapshot.keep()
        assert snapshot.is_kept()
        assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
        assert snapshot.changed() == []
        netplan.write_text("after")
        parameters.unlink()
        new = root / "etc/systemd/network/10-new.link"
        new.parent.mkdir(parents=True)
        new.write_text("new")
        paths = [
            "etc/default/grub.d/60-x.cfg",
            "etc/netplan/50.yaml",
            "etc/systemd/network/10-new.link",
        ]
        assert snapshot.changed() == paths
        assert snapshot.restore() == paths
        assert (netplan.read_text(), parameters.read_text(), new.exists()) == (
            "before",
            "before",
            False,
        )
        assert netplan.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("now", "before", "used", "owed"),
    [
        ("a=1 b", "", "quiet a=1 b", ""),
        ("a=1 b", "", "quiet a=1", "kernel parameters wait for it (b)"),
        ("", "a=1", "quiet a=1", "kernel parameters wait for it (no a=1)"),
        ("panic=30", "", "quiet", ""),
    ],
)
def test_a_parameter_that_is_not_in_use_needs_a_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str, before: str, used: str, owed: str
) -> None:
    with loaded("boot.trial") as script:
        for name, words in (("now", now), ("before", before)):
            folder = tmp_path / name / "etc/default/grub.d"
            folder.mkdir(parents=True)
            line = f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {words}"\n'
            (folder / "60-deeprig-parameters.cfg").write_text(line)
        cmdline = tmp_path / "cmdline"
        cmdline.write_text(used)
        paths = {"/": tmp_path / "now", "/proc/cmdline": cmdline}
        monkeypatch.setattr(script, "Path", lambda *parts: paths[parts[0]])
        monkeypatch.setattr(script.snapshot, "KEPT", tmp_path / "before")
        monkeypatch.setattr(script.passthrough, "waiting", list)
        assert script.owed() == owed


def test_the_state_is_kept_anew_in_each_boot_before_anything_is_changed_in_it(
    trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy may come before the first look at a boot, which would take its changes for good."""
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(trial, "BOOT_ID", boot)
    boot.write_text("first")
    assert not trial.is_kept()
    trial.confirm()
    assert trial.is_kept()
    boot.write_text("second")
    assert not trial.is_kept()
    trial.marked.append("armed")  # what is on trial was kept before it was changed
    assert trial.is_kept()


@pytest.mark.parametrize(
    ("routes", "up"),
    [
        ("ip -6 route add default dev lo", True),  # a box with IPv6 alone
        ("ip route add default dev lo", True),
        ("true", False),
        ("ip -6 route add unreachable default metric 4294967295", False),
    ],
)
def test_a_way_out_by_either_ip_is_one(routes: str, up: bool) -> None:
    """With real routes, in a network namespace of its own."""
    asked = (
        "from deeprig_box.boot import health; health._active = lambda unit: True; "
        "health.sshd_listens = lambda: True; print(health.is_up())"
    )
    script = f"ip link set lo up && {routes} && exec {sys.executable} -Bc {shlex.quote(asked)}"
    said = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", script],
        cwd=BOX, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare:" in said.stderr:
        pytest.skip(f"no network namespace can be had: {said.stderr.strip()}")
    assert said.stdout.strip() == str(up), said.stderr


def test_sshd_is_the_program_that_root_runs_and_no_other_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real process of that name, as anybody may have one."""
    named = (
        "import ctypes, socket; ctypes.CDLL(None).prctl(15, b'sshd', 0, 0, 0); "
        "s = socket.create_server(('127.0.0.1', 0)); print('there', flush=True); input()"
    )
    with (
        loaded("boot.health") as reached,
        subprocess.Popen(
            [sys.executable, "-c", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout and other.stdout.readline() == "there\n"
        assert Path(f"/proc/{other.pid}/comm").read_text() == "sshd\n"
        place, own = tmp_path / str(other.pid), Path(f"/proc/{other.pid}")
        place.mkdir()
        (place / "exe").symlink_to((own / "exe").readlink())
        (place / "fd").symlink_to(own / "fd")
        (tmp_path / "net").symlink_to("/proc/net")
        monkeypatch.setattr(reached.proc, "PROC", tmp_path)
        reached._active = lambda unit: False
        assert not reached.sshd_listens()
        (place / "exe").unlink()
        (place / "exe").symlink_to("/usr/sbin/sshd (deleted)")  # the control: after an upgrade
        assert reached.sshd_listens() is (os.getuid() == 0)
        other.communicate("\n")


CONSOLE = "Class=user\nRemote=no\nSeat=seat0\nService=login\n"
ROOTS = "Class=user-early\nRemote=no\nSeat=seat0\nService=login\n"
GREETER = "Class=greeter\nRemote=no\nSeat=seat0\nService=gdm-launch-environment\n"
SERIAL = "Class=user\nRemote=no\nSeat=\nService=login\n"
ELSEWHERE = "Class=user\nRemote=yes\nSeat=\nService=tailscaled\n"
BY_CRON = "Class=background\nRemote=no\nSeat=\nService=cron\n"
SU = "Class=user\nRemote=no\nSeat=\nService=su\n"
LINGERS = "Class=manager\nRemote=no\nSeat=\nService=systemd-user\n"


@pytest.mark.parametrize(
    ("sessions", "apt", "stays"),
    [
        ([CONSOLE], [], True),
        ([SERIAL], [], True),
        ([ROOTS], [], True),
        ([GREETER], [], False),
        ([LINGERS, ELSEWHERE], [], True),
        ([BY_CRON, SU, LINGERS], [], False),  # of an account that starts them in each boot
        ([], ["apt or dpkg"], True),
        ([], [], False),
    ],
)
def test_only_who_came_in_keeps_a_box_in_a_boot_that_nobody_reached(
    sessions: list[str], apt: list[str], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*command: str) -> str:
        if command[1] == "list-sessions":
            return "".join(f"{n} 1000 ai - -\n" for n, _ in enumerate(sessions))
        assert command[-len(sessions) :] == tuple(str(n) for n, _ in enumerate(sessions))
        return "\n".join(sessions)

    with loaded("boot.health") as script:
        monkeypatch.setattr(script, "run", run)
        monkeypatch.setattr(script.workload, "dpkg", lambda: apt)
        # A job by cron and a container, as boot_work sees them on any box of somebody's.
        monkeypatch.setattr(script.workload, "all_of_it", lambda: {"work": ["a"], "people": ["b"]})
        assert script.anybody() is stays
