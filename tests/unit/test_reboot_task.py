"""When a reboot that is owed is made, and when it is left and said."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from tasks import reboot
from tasks.reboot import Due, RebootDue, why_left
from tests.unit.box_scripts import loaded

OWED = "driver 580.173.02 is loaded, 580.178.04 installed"
IDLE = Due(OWED)
TRAINS = Due(OWED, work=("python3 of ai",))
LOGGED_IN = Due(OWED, people=("bash of ai",))
LATER = {"policy": "when-idle", "first": False, "asked": False}


@pytest.mark.parametrize(
    ("due", "changed", "left"),
    [
        (IDLE, {}, ""),
        (TRAINS, {}, "there runs python3 of ai; the next deploy makes it"),
        (LOGGED_IN, {}, "there runs bash of ai"),
        (LOGGED_IN, {"first": True}, ""),
        (TRAINS, {"first": True}, "there runs python3 of ai"),
        (TRAINS, {"asked": True}, ""),
        (IDLE, {"policy": "ask"}, "`--data reboot=now` on this command makes it"),
        (TRAINS, {"policy": "ask", "asked": True}, ""),
        (IDLE, {"asks": "/ is encrypted"}, "/ is encrypted; be there, and `--data reboot=now` on"),
        (IDLE, {"asks": "/ is encrypted", "first": True}, "/ is encrypted; be there"),
        (IDLE, {"asks": "/ is encrypted", "asked": True}, ""),
        (IDLE, {"policy": "never"}, "`sudo systemctl reboot` there when it suits you"),
        (IDLE, {"policy": "never", "asked": True}, 'Rig.reboot is "never"'),
    ],
)
def test_why_a_reboot_is_left(due: Due, changed: dict[str, Any], left: str) -> None:
    said = why_left(due, **(LATER | changed))
    assert left in said
    assert bool(said) == bool(left)


ANOTHER_BOOT = "0a1b2c3d-0000-4000-8000-00000000beef"


def commands(
    due: Due,
    *,
    boot_id: str = "0a1b2c3d-0000-4000-8000-00000000beef",
    build: Callable[[Rig], None] | None = None,
    **answers: str,
) -> list[str]:
    """What `when_due` would run, on a box that says this of a reboot."""
    said = json.dumps({"owed": due.owed, "work": due.work, "people": due.people})
    data: dict[str, Any] = {
        "rig": Rig(),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {"reboot-gate due": said, "boot_id": boot_id, **answers},
    }
    report: Report = runs.run("@fake/rig1", data, build or _build, dry=True)
    assert report.error is None
    return report.changes


def _build(rig: Rig) -> None:
    reboot.when_due(rig=rig)


def test_a_reboot_is_made_only_where_one_is_owed() -> None:
    assert commands(Due()) == []
    assert commands(IDLE) == ["Reboot | Reboot if that is owed"]


def test_a_reboot_that_would_wait_for_a_passphrase_is_left() -> None:
    def build(rig: Rig) -> None:
        reboot.when_due(rig=rig, asks="/ is encrypted")

    assert commands(IDLE, build=build) == []


def test_people_count_from_the_second_deploy_on() -> None:
    assert commands(LOGGED_IN) != []
    assert commands(LOGGED_IN, **{"manifest.json": '{"written": "2026-11-25"}'}) == []


def test_the_machine_that_deploys_is_never_rebooted() -> None:
    own = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert commands(IDLE, boot_id=own) == []


def test_where_neither_script_is_there_nothing_is_owed() -> None:
    assert RebootDue().process([]) == Due()


def test_two_reasons_are_both_said() -> None:
    lines = [
        '{"owed": "a driver", "work": ["apt or dpkg"], "people": []}',
        '{"owed": "", "work": ["apt or dpkg"], "people": []}',
        '{"owed": "a parameter", "work": ["apt or dpkg"], "people": []}',
    ]
    assert RebootDue().process(lines) == Due("a driver; a parameter", ("apt or dpkg",), ())


def test_what_counts_as_work_and_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded("lib.workload") as work:
        session = "/user.slice/user-1000.slice/session-3.scope"
        there = [
            work.Process(10, "python3", "ai", session),
            work.Process(
                11, "nvidia-persiste", "root", "/system.slice/nvidia-persistenced.service"
            ),
            work.Process(12, "sshd-session", "ai", session),
            work.Process(13, "jupyter-lab", "ai", "/user.slice/x/deeprig-notebook.service/app"),
            work.Process(14, "bash", "ai", "/user.slice/user-1000.slice/session-9.scope"),
            work.Process(15, "cron", "root", "/system.slice/cron.service"),
            work.Process(17, "fetch", "ai", "/system.slice/cron.service"),
            work.Process(16, "postgres", "root", "/system.slice/docker-0123456789abcdef.scope"),
        ]
        monkeypatch.setattr(work, "cards", lambda pid: ["/dev/nvidia0"] if pid in (10, 11) else [])
        assert work.on_a_card(there) == ["python3 of ai"]
        own = "/user.slice/user-1000.slice/session-9.scope"
        assert work.of_people(there, own) == ["fetch of ai", "python3 of ai"]
        assert work.of_people(there, "") == ["bash of ai", "fetch of ai", "python3 of ai"]
        assert work.in_containers(there) == ["container 0123456789ab"]


# /proc/PID/comm and cgroup: libvirt 9 to 11 with cgroup v2, systemd-nspawn, podman, a user's own.
GUESTS = r"""
qemu-system-x86 0::/machine.slice/machine-qemu\x2d1\x2dwin11\x2dgpu.scope/libvirt/emulator
CPU 0/KVM       0::/machine.slice/machine-qemu\x2d1\x2dwin11\x2dgpu.scope/libvirt/vcpu0
qemu-system-x86 0::/machine.slice/machine-qemu\x2d12\x2ddebian13.scope/libvirt/emulator
systemd         0::/machine.slice/machine-lxc\x2d42\x2dmail.scope/libvirt/init.scope
systemd         0::/machine.slice/systemd-nspawn@builder.service/payload/init.scope
kvm             0::/system.slice/my-router.service
python3         0::/machine.slice/libpod-0123456789abcdef.scope/container
libvirtd        0::/system.slice/libvirtd.service
qemu-ga         0::/system.slice/qemu-guest-agent.service
qemu-system-x86 0::/user.slice/user-1000.slice/session-3.scope
"""


def test_guests_count_as_work_by_their_names(tmp_path: Path) -> None:
    with loaded("lib.workload") as work:
        there = []
        for number, line in enumerate(GUESTS.strip().splitlines()):
            place = tmp_path / str(number)
            place.mkdir()
            (place / "cgroup").write_text(f"12:devices:/x\n{line[16:]}\n")
            there.append(work.Process(number, line[:16].strip(), "root", work.group(place)))
        assert work.in_guests(there) == [
            "guest debian13",
            "guest win11-gpu",
            "kvm of root",
            "machine builder",
            "machine lxc-42-mail",
        ]
        assert work.in_guests(there[6:]) == []  # a container, and services that only serve guests
        assert work.in_containers(there) == ["container 0123456789ab"]
        assert work.of_people(there, "") == ["qemu-system-x86 of root"]


def test_packages_that_are_being_installed_count_as_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock-frontend"
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with loaded("lib.workload") as work:
        monkeypatch.setattr(work, "DPKG_LOCK", lock)
        assert work.dpkg() == []  # no dpkg
        lock.touch()
        assert work.dpkg() == []
        with subprocess.Popen(
            [sys.executable, "-c", holder, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as apt:
            assert apt.stdout and apt.stdout.readline() == b"held\n"
            assert work.dpkg() == ["apt or dpkg"]
            apt.kill()
        assert work.dpkg() == []


def test_a_notebook_server_that_gives_no_word_counts_as_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded("lib.workload") as work:
        monkeypatch.setattr(work, "NOTEBOOK", tmp_path / "notebook-server")
        assert work.in_notebooks() == []
        for script, said in (
            ("exit 1", ["a notebook server that gives no word"]),
            ("echo", []),
            ("echo kernel train.ipynb", ["kernel train.ipynb"]),
        ):
            work.NOTEBOOK.touch()
            monkeypatch.setattr(work, "NOTEBOOK_SERVERS", (["/bin/sh", "-c", script],))
            assert work.in_notebooks() == said


def test_the_gate_names_what_boots_next_if_that_is_no_kernel_of_this_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with loaded("boot.gate") as gate:
        entry = SimpleNamespace(kernel="", title="Windows Boot Manager", initrd="")
        monkeypatch.setattr(gate, "Loader", lambda: SimpleNamespace(next=entry))
        with pytest.raises(SystemExit) as ended:
            gate.check()
        assert ended.value.code == (
            "No reboot: 'Windows Boot Manager' boots next, which is no kernel of this system."
        )
