"""Why a box stays on, and what is said in the end; what runs is asked of this very machine."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest

from deeprig.facts import encryption, survey, wake_memory, workload
from deeprig.facts.encryption import Lock
from deeprig.facts.wake_memory import WakeTarget
from deeprig.settings import WakeOnLan
from deeprig.ssh import probe, root_shell
from deeprig.ssh.probe import Reachability
from deeprig.ssh.root_shell import Done
from deeprig.ui.progress import Progress
from deeprig_cli.power import arm, off
from deeprig_cli.power.off import Off, why_not
from tests.unit.test_wake_on_lan import WORKSTATION

ROOT = Path(__file__).parents[2]


def box(**values: Any) -> Off:
    return Off(host="rig1", wake="deeprig wake rig1", **values)


def test_what_is_sent_to_the_box_answers_by_itself() -> None:
    """The module with its last line runs from stdin, as on a box that has nothing of ours."""
    done = subprocess.run(
        [sys.executable, "-EsB", "-"],
        input=workload.PROGRAM,
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert sorted(json.loads(done.stdout)) == ["people", "work"]


def test_what_a_boot_asks_for_is_asked_by_itself(tmp_path: Path) -> None:
    """The survey's part with what it needs before it, on this very machine; a stand-in says that
    its / is encrypted.
    """
    for name, text in {
        "systemd-detect-virt": "exit 1",
        "findmnt": "echo ext4",
        "lsblk": "echo cr crypt",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-s"], input=encryption.ALONE, capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    locks = survey.read(done.stdout.splitlines()).locks
    assert Lock("cr", "/", "console") in locks
    assert encryption.sentence(locks).startswith("/boot is encrypted (cr)")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, ""),
        (
            {"work": ("python of ai", "tmux: server of ai")},
            "rig1 stays on: there run python of ai, tmux: server of ai. --force powers it off all "
            "the same.",
        ),
        (
            {"unarmed": "enp5s0 cannot be armed for Wake-on-LAN: Operation not supported"},
            "rig1 stays on: enp5s0 cannot be armed for Wake-on-LAN: Operation not supported. "
            "--force powers it off all the same.",
        ),
        (
            {"asks": "/ is encrypted (cr), and each boot waits for its passphrase at its screen"},
            "rig1 stays on: / is encrypted (cr), and each boot waits for its passphrase at its "
            "screen. --force powers it off all the same.",
        ),
    ],
)
def test_it_stays_on_for_work_and_where_no_packet_would_wake_it(
    values: dict[str, Any], sentence: str
) -> None:
    assert why_not(box(**values)) == sentence


@pytest.mark.parametrize(
    ("found", "page"),
    [
        (box(off=True, seconds=7.6), "rig1 is off after 8 s; `deeprig wake rig1` wakes it."),
        (
            box(off=True, seconds=7.6, unarmed="eth0 cannot"),
            "rig1 is off after 8 s; its power button wakes it, no packet of ours.",
        ),
        (
            Off(host="rig1", wake="", off=True),
            "rig1 is off after 0 s; its power button wakes it, no packet of ours.",
        ),
        (
            box(off=True, seconds=7.6, asks="/ is encrypted"),
            "rig1 is off after 8 s; `deeprig wake rig1` wakes it. / is encrypted.",
        ),
        (box(refused="rig1 stays on: x."), "rig1 stays on: x."),
        (
            box(seconds=300.4),
            "rig1 still answers after 300 s; something there does not stop: look at its screen, or "
            "at the power switch.",
        ),
    ],
)
def test_the_page_says_how_it_is_and_how_to_wake_it(found: Off, page: str) -> None:
    assert found.page() == page


@pytest.mark.parametrize(
    ("inventory", "command"),
    [
        ("inventory.py", "deeprig wake rig1"),
        ("my boxes.py", "deeprig wake rig1 --inventory 'my boxes.py'"),
    ],
)
def test_the_command_that_wakes_it_names_the_inventory(inventory: str, command: str) -> None:
    assert off._how_to_wake("rig1", Path(inventory)) == command


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("armed", ""),
        (
            "enp5s0 cannot be armed for Wake-on-LAN: it stays off.\nrefused",
            "enp5s0 cannot be armed for Wake-on-LAN: it stays off",
        ),
        (
            "not deployed",
            "nothing arms its card enp5s0; deploy with wake_on_lan=WakeOnLan() first",
        ),
    ],
)
def test_the_card_below_the_bridge_is_armed_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, why: str
) -> None:
    """A bridge has the address of its card; these answers stand in for a box's."""
    cards = Done(0, "\n".join([*WORKSTATION, "ipv4=br0 192.168.1.20/24"]), "")
    answers, asked = [cards, Done(0, said, "")], []

    def run(transport: Any, command: str, **more: Any) -> Done:
        asked.append(command)
        return answers.pop(0)

    monkeypatch.setattr(root_shell, "run", run)
    data = {
        "ssh_hostname": "rig1.lan",
        "ssh_known_hosts_file": str(tmp_path / "pins"),
    }
    assert arm.arm(cast(paramiko.Transport, None), data, WakeOnLan()) == why
    assert asked[1].endswith("wake-on-lan state enp5s0")
    kept = wake_memory.find(tmp_path / wake_memory.FILE, "rig1.lan")
    assert kept == WakeTarget("3c:7c:3f:00:11:22", "192.168.1.0/24")


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as there:
        threading.Thread(target=_welcome, args=(there,), daemon=True).start()
        yield there


def _welcome(there: socket.socket) -> None:
    try:
        while True:
            there.accept()[0].close()
    except OSError:
        return


def test_a_closed_port_is_not_yet_nothing(door: socket.socket) -> None:
    data = {"ssh_hostname": "127.0.0.1", "ssh_port": door.getsockname()[1]}
    assert probe.probe(data) is Reachability.OPEN
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert probe.probe({**data, "ssh_port": port}) is Reachability.CLOSED


@pytest.mark.parametrize(
    ("seen", "gone"),
    [
        ([Reachability.OPEN, Reachability.CLOSED, Reachability.NOTHING], True),
        ([Reachability.CLOSED], False),
    ],
)
def test_it_waits_until_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, seen: list[Reachability], gone: bool
) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def look(data: dict[str, Any]) -> Reachability:
        return seen.pop(0) if len(seen) > 1 else seen[0]

    monkeypatch.setattr(off, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    monkeypatch.setattr(probe, "probe", look)
    found = box()
    assert off._wait_until_gone(found, {}, Progress()) is gone
    assert found.seconds == (2.0 if gone else 301.0)


def test_the_state_file_is_no_part_of_the_checkout() -> None:
    assert f"/{wake_memory.FILE}" in (ROOT / ".gitignore").read_text().splitlines()
