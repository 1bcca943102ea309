"""The packet byte by byte, where it goes, who is refused, and what is said; on loopback alone."""

import json
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from deeprig.errors import DeeprigError
from deeprig.facts import network_cards, survey, wake_memory
from deeprig.facts.wake_memory import WakeTarget
from deeprig.settings import WakeOnLan
from deeprig.ssh import probe, ssh_config
from deeprig.ssh.probe import Reachability
from deeprig.ui.progress import Progress
from deeprig_cli.cli import main
from deeprig_cli.power import magic_packet, report
from deeprig_cli.power.magic_packet import (
    LIMITED_BROADCAST,
    SCRIPT,
    Destination,
    aim,
    is_wsl2,
    own_address,
)
from deeprig_cli.power.wait import Waking
from tests.unit.test_wake_on_lan import CONTAINER, WORKSTATION

MAC = "3c:7c:3f:00:11:22"
PACKET = bytes.fromhex("ff" * 6 + "3c7c3f001122" * 16)
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIPIokQMyUmIlS7dRy2WqeNcWAuy0mTrDkEJ4Lq1kRq2u"
LOOPBACK = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as there:
        there.bind((LOOPBACK, 0))
        there.settimeout(5)
        yield there


def received(listener: socket.socket, count: int) -> list[bytes]:
    got = [listener.recv(2000) for _ in range(count)]
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(2000)
    return got


def test_the_packet_is_102_bytes_and_comes_three_times(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    magic_packet.send(Destination(mac=MAC, broadcast=LOOPBACK), port=port)
    assert received(listener, 3) == [PACKET] * 3
    assert len(PACKET) == 102


@pytest.mark.parametrize("tool", ["python3", "perl"])
def test_a_jump_host_sends_the_same_packet_with_whatever_it_has(
    listener: socket.socket, tmp_path: Path, tool: str
) -> None:
    real = sys.executable if tool == "python3" else shutil.which(tool)
    (tmp_path / tool).write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    (tmp_path / tool).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-s", MAC, LOOPBACK, str(listener.getsockname()[1]), "3"],
        input=SCRIPT, text=True, capture_output=True, check=True, env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == f"sent by {tool}\n"
    assert received(listener, 3) == [PACKET] * 3


def test_a_jump_host_that_has_nothing_to_send_with_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-s", MAC, LOOPBACK, "9", "3"],
        input=SCRIPT, text=True, capture_output=True, check=False, env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "it has no python3, perl or etherwake to send a packet with\n"


@pytest.mark.parametrize(
    ("settings", "addresses", "remembered"),
    [
        (WakeOnLan(), ["ipv4=br0 192.168.1.20/24"], WakeTarget(MAC, "192.168.1.0/24")),
        (
            WakeOnLan(),
            ["ipv4=docker0 172.17.0.1/16", "ipv4=wlp7s0 10.0.0.5/8", "ipv4=br0 192.168.7.9/22"],
            WakeTarget(MAC, "192.168.4.0/22"),
        ),
        (WakeOnLan(), ["ipv4=enp5s0 203.0.113.9/32"], WakeTarget(MAC, "")),
        (WakeOnLan(), [], WakeTarget(MAC, "")),
        (
            WakeOnLan(interface="enp6s0"),
            ["ipv4=br0 192.168.1.20/24", "ipv4=enp6s0 10.9.8.7/16"],
            WakeTarget("3c:7c:3f:00:11:33", "10.9.0.0/16"),
        ),
        (None, ["ipv4=br0 192.168.1.20/24"], None),
    ],
)
def test_the_armed_cards_address_and_its_own_network_are_remembered(
    settings: WakeOnLan | None, addresses: list[str], remembered: WakeTarget | None
) -> None:
    network = survey.read([*WORKSTATION, *addresses]).network
    assert wake_memory.of(network, settings) == remembered


def test_nothing_is_remembered_of_a_card_that_no_packet_wakes() -> None:
    assert wake_memory.of(survey.read(CONTAINER).network, WakeOnLan()) is None
    others = [line for line in WORKSTATION if not line.startswith("route=")]
    cannot = survey.read([*others, "route=enp6s0"]).network
    assert wake_memory.of(cannot, WakeOnLan()) is None
    assert wake_memory.of(cannot, WakeOnLan(interface="enp6s0")) is not None  # the control


def test_the_survey_prints_the_addresses_as_they_are_read() -> None:
    printed = survey.read(
        subprocess.check_output(["sh", "-s"], input=network_cards.SCRIPT, text=True)
        .splitlines()
    ).network  # fmt: skip
    asked = subprocess.check_output(["ip", "-j", "-4", "address", "show", "scope", "global"])
    there = [
        (card["ifname"], f"{one['local']}/{one['prefixlen']}")
        for card in json.loads(asked)
        for one in card["addr_info"]
        if "address" not in one  # the far end of a line with two ends
    ]
    assert list(printed.addresses) == there


def test_it_is_remembered_beside_known_hosts_for_its_owner_alone(tmp_path: Path) -> None:
    file = wake_memory.file_of({"ssh_known_hosts_file": str(tmp_path / "known_hosts")})
    assert file == tmp_path / "wake_on_lan.json"
    assert wake_memory.find(file, "rig1.lan") is None
    first, second = WakeTarget(MAC, "192.168.1.0/24"), WakeTarget("3c:7c:3f:00:11:33")
    assert wake_memory.keep(file, "rig1.lan", first)
    assert wake_memory.keep(file, "rig2.lan", second)
    assert not wake_memory.keep(file, "rig1.lan", first)
    assert wake_memory.find(file, "rig1.lan") == first
    assert wake_memory.find(file, "rig2.lan") == second
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["wake_on_lan.json"]


@pytest.mark.parametrize("text", ["{", '{"rig1.lan": 3}', "[]", '{"rig1.lan": {"mac": "x"'])
def test_a_damaged_memory_is_one_line_and_written_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wake_on_lan.json"
    file.write_text(text)
    with pytest.raises(DeeprigError, match="the next deploy writes it anew"):
        wake_memory.find(file, "rig1.lan")
    assert wake_memory.keep(file, "rig1.lan", WakeTarget(MAC))
    assert wake_memory.find(file, "rig1.lan") == WakeTarget(MAC)


def test_the_packet_goes_to_the_broadcast_address_of_the_boxs_network() -> None:
    to = aim(WakeTarget(MAC, "192.168.4.0/22"), "rig1.lan")
    assert to.broadcast == "192.168.7.255"
    assert aim(WakeTarget(MAC), LOOPBACK).broadcast == LIMITED_BROADCAST


def test_without_a_network_it_leaves_by_the_card_that_leads_to_the_box() -> None:
    assert aim(WakeTarget(MAC), LOOPBACK).source == LOOPBACK
    assert own_address("no-such-name.invalid") is None


@pytest.mark.parametrize(("source", "far"), [("192.168.1.7", False), ("10.0.0.7", True)])
def test_a_sender_in_another_network_is_told(source: str, far: bool) -> None:
    to = Destination(mac=MAC, broadcast="192.168.1.255", source=source, lan="192.168.1.0/24")
    assert to.from_elsewhere is far
    assert report.elsewhere(to).startswith(f"This machine ({source}) is not in 192.168.1.0/24")


@pytest.mark.parametrize(
    ("release", "wsl2"),
    [
        ("5.15.167.4-microsoft-standard-WSL2", True),
        ("6.6.87.2-microsoft-standard-WSL2+", True),
        ("4.4.0-19041-Microsoft", False),
        ("6.12.57+deb13-amd64", False),
        ("24.6.0", False),
    ],
)
def test_wsl2_is_known_by_its_kernel(release: str, wsl2: bool) -> None:
    assert is_wsl2(release) is wsl2


@pytest.fixture
def closed_port() -> int:
    with closing(socket.socket()) as free:
        free.bind((LOOPBACK, 0))
        return int(free.getsockname()[1])


def inventory(folder: Path, port: int, rig: str = "Rig()", hostname: str = LOOPBACK) -> Path:
    """Of one box with a pinned host key."""
    door = f"[{hostname}]:{port}"
    (folder / "known_hosts").write_text(f"{door} ssh-ed25519 {KEY}\n")
    file = folder / "rigs.py"
    file.write_text(
        "from deeprig.settings import Rig, WakeOnLan, box\n"
        f'rigs = [box("rig1", hostname="{hostname}", port={port}, '
        f'known_hosts="{folder}/known_hosts", rig={rig})]\n'
    )
    return file


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_a_box_whose_card_nobody_knows_is_one_line(tmp_path: Path, closed_port: int) -> None:
    file = inventory(tmp_path, closed_port)
    code, out, err = run("wake", "--inventory", str(file))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "nobody knows the network card of rig1: this machine has not deployed to it since "
        f"Wake-on-LAN was on; put WakeOnLan(mac=...) in {file}."
    )


def test_under_wsl2_a_jump_host_is_asked_for(
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(magic_packet, "is_wsl2", lambda: True)  # stands in for such a kernel
    file = inventory(tmp_path, closed_port, f'Rig(wake_on_lan=WakeOnLan(mac="{MAC}"))')
    code, _, err = run("wake", "--inventory", str(file))
    assert code == 2
    assert "this is WSL2, whose NAT lets no broadcast out" in err.splitlines()[-1]
    assert "`deeprig wake rig1 --via HOST`" in err.splitlines()[-1]


def test_a_box_that_was_never_met_is_not_woken(tmp_path: Path, closed_port: int) -> None:
    file = inventory(tmp_path, closed_port)
    (tmp_path / "known_hosts").write_text("")
    code, _, err = run("wake", "--inventory", str(file))
    assert (code, "pin it with `deeprig bootstrap 127.0.0.1`" in err) == (2, True)


def test_nothing_is_done_to_several_boxes_unasked(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(
        "from deeprig.settings import Rig, box\n"
        'rigs = [box("rig1", rig=Rig()), box("rig2", rig=Rig())]\n'
    )
    for verb, what in (("wake", "woken"), ("off", "powered off")):
        code, _, err = run(verb, "--inventory", str(file))
        assert (code, err) == (2, f"no box is {what} unasked; name one of rig1, rig2.\n")


def test_one_box_that_cannot_be_asked_does_not_stop_the_others(
    tmp_path: Path, closed_port: int
) -> None:
    file = inventory(tmp_path, closed_port)
    text = file.read_text()
    other = text[text.index("box(") :].replace("rig1", "rig2").replace("127.0.0.1", "127.0.0.2")
    file.write_text(f"{text}rigs.append({other.strip().rstrip(']')})\n")
    for verb in ("wake", "off"):
        code, out, err = run(verb, "--inventory", str(file), "--limit", "rig*")
        assert code == 2
        assert "0 of 2 boxes are well:" in out
        assert [line.split()[:3] for line in out.splitlines()[-2:]] == [
            ["rig1", "not", "asked"],
            ["rig2", "not", "asked"],
        ]
        assert len(err.splitlines()) >= 2


def test_a_jump_host_that_cannot_be_logged_in_to_is_one_line(
    tmp_path: Path, closed_port: int
) -> None:
    file = inventory(tmp_path, closed_port, f'Rig(wake_on_lan=WakeOnLan(mac="{MAC}"))')
    code, _, err = run("wake", "--inventory", str(file), "--via", f"ssh://{LOOPBACK}:{closed_port}")
    assert code == 2
    said = err.splitlines()[-1]
    assert said.startswith(f"--via ssh://{LOOPBACK}:{closed_port}: ssh: connect to host")
    assert said.endswith("must work here without a question.")


def test_a_jump_hosts_name_is_no_option_for_ssh() -> None:
    words = ssh_config.users_own_ssh("-oProxyCommand=touch x", "true")
    assert words[words.index("-oProxyCommand=touch x") - 1] == "--"
    assert "-oStrictHostKeyChecking=yes" in words


def waiting(monkeypatch: pytest.MonkeyPatch, *seen: Reachability) -> tuple[Waking, list[float]]:
    """A wait on a clock of its own; what is seen each time, the last for ever."""
    clock, left = [0.0], list(seen)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def look(data: dict[str, Any]) -> Reachability:
        clock[0] += 0.1  # a look takes its time
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(
        "deeprig_cli.power.wait.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    )
    monkeypatch.setattr(probe, "probe", look)
    return Waking({}, Progress()), clock


def test_packets_go_on_until_ssh_answers_and_it_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waking, clock = waiting(monkeypatch, Reachability.NOTHING, Reachability.CLOSED)
    sent: list[float] = []
    assert not waking.wait(lambda: sent.append(clock[0]), 100)
    assert len(sent) == waking.bursts == 4
    assert all(30 <= after - before < 34 for before, after in pairwise(sent))
    assert 100 <= waking.seconds < 101


def test_no_packet_is_sent_where_ssh_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    waking, _ = waiting(monkeypatch, Reachability.OPEN)
    answers = ["not yet", "not yet", ""]
    monkeypatch.setattr(probe, "why_no_login", lambda data: answers.pop(0))
    sent: list[int] = []
    assert not waking.is_awake()
    assert waking.wait(lambda: sent.append(1), 100)
    assert (sent, answers) == ([], [])


def test_a_door_that_stays_shut_is_given_up_and_knocked_at_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waking, clock = waiting(monkeypatch, Reachability.NOTHING, Reachability.OPEN)
    tries: list[float] = []

    def refuse(data: dict[str, Any]) -> str:
        tries.append(clock[0])
        return "it does not let deeprig in"

    monkeypatch.setattr(probe, "why_no_login", refuse)
    waking.is_awake()
    assert not waking.wait(lambda: None, 600)
    assert 120 <= waking.seconds < 140
    assert all(after - before >= 10 for before, after in pairwise(tries))
    woken = report.Woken(
        name="rig1",
        awake=False,
        aim=Destination(mac=MAC, broadcast=LIMITED_BROADCAST),
        via=None,
        waking=waking,
    )
    assert woken.page() == "rig1 is on, and lets nobody in: it does not let deeprig in"


def test_in_the_end_it_is_said_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    waking, _ = waiting(monkeypatch, Reachability.NOTHING)
    waking.wait(lambda: None, 600)
    to = Destination(mac=MAC, broadcast="192.168.1.255", lan="192.168.1.0/24")
    woken = report.Woken(name="rig1", awake=False, aim=to, via=None, waking=waking)
    page = woken.page().splitlines()
    assert page[0] == (
        "rig1 did not come up in 600 s; 60 packets for 3c:7c:3f:00:11:22 at 192.168.1.255 port 9 "
        "were sent. Look at:"
    )
    words = ("light", "ErP", "EuP", "Wake on LAN", "cable", "switch", "passphrase", "--via HOST")
    for word in words:
        assert any(word in line for line in page[1:]), word
    assert woken.to_json()["look_at"] == [line.removeprefix("  - ") for line in page[1:]]


def test_boxes_of_one_name_are_told_apart_by_their_ports() -> None:
    """Behind a router; what a deploy moved since is no matter."""
    first = {"ssh_hostname": "home.example", "ssh_port": 2222, "bootstrap_port": 2201}
    second = {"ssh_hostname": "home.example", "ssh_port": 2202, "bootstrap_port": 2202}
    assert wake_memory.name_of(first) == "[home.example]:2201"
    assert wake_memory.name_of(second) == "[home.example]:2202"
    assert wake_memory.name_of({"ssh_hostname": "rig1.lan"}) == "rig1.lan"


def test_a_memory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("no folder")
    file = tmp_path / "folder" / wake_memory.FILE
    with pytest.raises(DeeprigError, match=r"^[^\n]*cannot be written[^\n]*WakeOnLan\(mac=[^\n]*$"):
        wake_memory.keep(file, "rig1", WakeTarget(MAC))
