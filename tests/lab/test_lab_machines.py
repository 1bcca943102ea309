"""The throwaway machines themselves: real enough to believe, and gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from lab import boxes, cgroups, container, guest, images, network

pytestmark = pytest.mark.lab

DEEPRIG = str(Path(sys.executable).with_name("deeprig"))


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> str:
    name = str(request.config.getoption("--os"))
    images.ensure(name, boxes.silent)
    return name


@pytest.fixture(scope="module")
def pair(system: str) -> Iterator[tuple[boxes.Box, boxes.Box]]:
    """Two bare boxes, made at the same moment."""
    names = ("lab-left", "lab-right")
    for name in names:
        take_down(name)
    made = [
        subprocess.Popen(
            [DEEPRIG, "lab", "up", name, "--bare", "--os", system, "--json"],
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    assert [process.wait(60) for process in made] == [0, 0]
    yield boxes.get(names[0]), boxes.get(names[1])
    for name in names:
        take_down(name)


@pytest.fixture
def left(pair: tuple[boxes.Box, boxes.Box]) -> boxes.Box:
    return boxes.up(pair[0].name)  # whatever the test before did to it


@pytest.fixture
def run(left: boxes.Box) -> Callable[..., str]:
    """Run a command on the left box as the installer's user, and give what it prints."""
    return lambda command: as_installers_user(left, command)


def take_down(name: str) -> None:
    if name in [box.name for box in boxes.every()]:
        boxes.down(name)


def as_installers_user(box: boxes.Box, command: str, stdin: str = "") -> str:
    with paramiko.SSHClient() as client:
        for key in guest.host_keys(box.upper):
            entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{box.host} {key}")
            assert entry is not None and entry.key is not None
            client.get_host_keys().add(box.host, entry.key.get_name(), entry.key)
        client.connect(
            box.host, username="ai", password=box.password, look_for_keys=False, allow_agent=False
        )
        typed, output, errors = client.exec_command(command, timeout=120)
        typed.write(stdin)
        typed.channel.shutdown_write()
        text = output.read().decode() + errors.read().decode()
        assert output.channel.recv_exit_status() == 0, f"{command}: {text}"
        return text.strip()


def as_root(box: boxes.Box, command: str) -> str:
    return as_installers_user(box, f"sudo -S -p '' {command}", f"{box.password}\n")


def eventually(is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so within 20 seconds."""
    patience = time.monotonic() + 20
    while not is_so() and time.monotonic() < patience:
        time.sleep(0.1)
    return is_so()


def traces() -> dict[str, str]:
    """What a lab could leave on this machine. Kernel threads and zombies are nobody's."""
    asked = {
        "processes": "ps -e -o stat=,args= --ppid 2 --deselect | grep -v '^Z' | cut -d' ' -f2-",
        "mounts": "cat /proc/mounts",
        "namespaces": "ip netns",
        "interfaces": "ip -brief link",
        "routes": "ip route",
        "firewall": "nft list ruleset",
        "groups": "find /sys/fs/cgroup -name 'deeprig-lab*'",
        "files": "ls -d /run/netns /run/deeprig-lab /run/systemd/nspawn",
    }
    return {
        what: subprocess.run(["sh", "-c", how], capture_output=True, text=True).stdout
        for what, how in asked.items()
    }


def test_the_last_down_leaves_no_trace(system: str) -> None:
    if boxes.every():  # so it is the first test here
        pytest.skip("there are other boxes: " + ", ".join(box.name for box in boxes.every()))
    before = traces()
    boxes.up("lab-last", os=system, bare=True)
    assert traces()["interfaces"] != before["interfaces"]  # the control
    boxes.down("lab-last")
    left_over = {
        what: set(now.splitlines()) - set(before[what].splitlines())
        for what, now in traces().items()
    }
    assert {what: lines for what, lines in left_over.items() if lines and what != "processes"} == {}
    assert not [line for line in left_over["processes"] if "slirp" in line or "nspawn" in line]


def test_a_cached_box_lets_its_user_in_within_five_seconds(system: str) -> None:
    seconds: list[float] = []
    while len(seconds) < 3 and min(seconds, default=9) > 5:
        started = time.monotonic()
        up = [DEEPRIG, "lab", "up", "lab-quick", "--bare", "--os", system]
        subprocess.run(up, check=True, capture_output=True)
        assert as_installers_user(boxes.get("lab-quick"), "hostname") == "lab-quick"
        seconds.append(time.monotonic() - started)
        boxes.down("lab-quick")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if min(seconds) > 5 and load > 2 * cores:
        pytest.skip(f"this machine is busy, load {load:.1f} on {cores} cores: {seconds}")
    assert min(seconds) <= 5


def test_the_json_says_how_to_log_in(left: boxes.Box) -> None:
    shown = subprocess.run(
        [DEEPRIG, "lab", "up", "lab-left", "--json"], check=True, capture_output=True, text=True
    ).stdout
    expected = "name kind os host port user key inventory password"
    assert list(json.loads(shown)) == expected.split()
    assert len(shown.splitlines()) == 1


def test_boxes_made_at_once_reach_each_other(pair: tuple[boxes.Box, boxes.Box]) -> None:
    left, right = pair
    assert left.host != right.host
    for box, other in ((left, right), (right, left)):
        as_installers_user(box, f"timeout 5 bash -c '</dev/tcp/{other.host}/22'")


def test_each_box_is_a_machine_of_its_own(pair: tuple[boxes.Box, boxes.Box]) -> None:
    left, right = pair
    for file in ("/etc/machine-id", "/etc/hostname", "/proc/sys/kernel/random/boot_id"):
        told = {as_installers_user(box, f"cat {file}") for box in (left, right)}
        assert len(told) == 2, file
    assert not set(guest.fingerprints(left.upper)) & set(guest.fingerprints(right.upper))


def test_systemd_runs_and_nothing_has_failed(run: Callable[..., str]) -> None:
    assert run("systemctl is-system-running --wait") == "running"


def test_sudo_asks_for_the_password_and_takes_it(left: boxes.Box) -> None:
    assert "password" in as_installers_user(left, "! sudo -n true").lower()
    assert as_root(left, "id -u") == "0"


def test_apt_reaches_its_archive(left: boxes.Box) -> None:
    assert "Err:" not in as_root(left, "apt-get update")


def test_nftables_work_and_a_reboot_forgets_their_rules(left: boxes.Box) -> None:
    before = container.boot_id(left.name)
    as_root(left, "mkdir -p /srv/stays")
    network_of = ["nsenter", f"--net=/proc/{container.host_pid(left.name, 1)}/ns/net"]
    subprocess.run([*network_of, "nft", "add", "table", "ip", "mine"], check=True)
    boxes.reboot(left.name)
    assert container.boot_id(left.name) not in ("", before)
    network_of = ["nsenter", f"--net=/proc/{container.host_pid(left.name, 1)}/ns/net"]
    rules = subprocess.run([*network_of, "nft", "list", "ruleset"], capture_output=True, text=True)
    assert "mine" not in rules.stdout
    as_installers_user(left, "test -d /srv/stays")


def test_a_power_cut_kills_at_once_and_leaves_the_files(left: boxes.Box) -> None:
    before = container.boot_id(left.name)
    as_installers_user(left, "echo written > kept && sync")
    as_root(left, "systemd-run -q sh -c 'trap \"touch /srv/warned\" TERM; sleep 60 & wait'")
    boxes.cut(left.name)
    assert container.boot_id(left.name) not in ("", before)
    assert as_installers_user(left, "cat kept; ls /srv").split()[0] == "written"
    assert not (left.upper / "srv/warned").exists()


def test_a_box_that_is_off_starts_again(left: boxes.Box) -> None:
    boxes.cut(left.name, off=True)
    assert not left.running
    assert cgroups.pids(left.name) == []
    boxes.up(left.name)
    as_installers_user(left, "true")


def test_a_box_that_powers_itself_off_is_off(left: boxes.Box) -> None:
    as_root(left, "systemd-run -q --on-active=1 systemctl poweroff")
    assert eventually(lambda: not left.running)
    boxes.up(left.name)


def test_a_pulled_cable_cuts_the_box_off_until_it_is_back(left: boxes.Box) -> None:
    network.unplug(left.host)
    assert not container.answers(left.host, 22)
    network.plug(left.host)
    assert eventually(lambda: container.answers(left.host, 22))


def test_a_killed_supervisor_is_cleaned_up_by_the_next_up(left: boxes.Box) -> None:
    before = container.boot_id(left.name)
    old = cgroups.pids(left.name)
    for pid in cgroups.pids(left.name, "supervisor"):
        os.kill(pid, signal.SIGKILL)
    boxes.up(left.name)
    assert container.boot_id(left.name) not in ("", before)
    assert not set(old) & set(cgroups.pids(left.name))


def test_a_box_half_installed_is_installed_anew(left: boxes.Box) -> None:
    boxes.cut(left.name, off=True)
    state = left.folder / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"installed": False}))
    (left.upper / "etc/shadow").unlink()
    boxes.up(left.name)
    as_installers_user(left, "true")


def test_reinstall_changes_the_host_keys_and_keeps_address_and_data(left: boxes.Box) -> None:
    before = guest.fingerprints(left.upper)
    as_root(left, "sh -c 'echo mine > /mnt/data-disk/mine; touch /etc/gone'")
    again = boxes.reinstall(left.name)
    assert again.host == left.host
    assert not set(before) & set(guest.fingerprints(again.upper))
    assert as_installers_user(again, "cat /mnt/data-disk/mine") == "mine"
    assert as_installers_user(again, "ls /etc/gone || true").startswith("ls: cannot access")


def test_without_bare_the_deploy_user_gets_in_and_to_root(system: str) -> None:
    shown = boxes.up("lab-ready", os=system).public()
    login, _environment = boxes.ssh_command(boxes.get("lab-ready"))
    strict = [
        "-o",
        f"UserKnownHostsFile={boxes.get('lab-ready').known_hosts}",
        "-o",
        "BatchMode=yes",
    ]
    done = subprocess.run([login[0], *strict, *login[1:], "sudo -n id -u"], capture_output=True)
    boxes.down("lab-ready")
    assert shown["user"] == "deeprig"
    assert done.stdout == b"0\n"


def test_an_unknown_box_is_one_line_and_exit_2(left: boxes.Box) -> None:
    done = subprocess.run([DEEPRIG, "lab", "reboot", "nobody"], capture_output=True, text=True)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "no box is named 'nobody'; there are: " in line and left.name in line
