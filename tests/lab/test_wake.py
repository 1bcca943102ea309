"""Powered off by `deeprig off`, woken by `deeprig wake`: what is on the wire, byte by byte.

No packet wakes a container. A listener on the wire stands in for its card: it checks the packet,
then the test powers the box on. A script stands in for the one that arms cards, where it says so.
"""

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from deeprig.facts import wake_memory
from deeprig.facts.wake_memory import WakeTarget
from deeprig.ssh import connection
from deeprig_cli.power import arm as arming
from lab import boxes, cgroups, container, network
from tests.lab import wire
from tests.lab.conftest import DEEPRIG, ROOT, host_data, run_on, shell, variant, wait_for
from tests.lab.test_wake_on_lan import NAMED, arm

pytestmark = pytest.mark.lab

Login = Callable[..., str]
SCRIPT, UNIT = arming.ARM, arming.UNIT
ARMED = "/var/log/stand-in-for-wake-on-lan"
STAND_IN = f"""#!/bin/sh
# A stand-in for a card that can be armed.
echo "$@" >> {ARMED}
[ "$1" != state ] || echo armed
"""
BROADCAST = f"{network.SUBNET}.255"


@pytest.fixture(scope="module")
def deployed(box: boxes.Box) -> None:
    """This part of a deploy, which leaves the script that arms the card, and remembers it here."""
    report = run_on(box, arm(NAMED))
    assert report.error is None, report.steps


@pytest.fixture(scope="module")
def inventory(
    box: boxes.Box, deployed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The box's, with its card named, as a container's must be."""
    yield variant(
        box,
        tmp_path_factory.mktemp("wake") / "inventory.py",
        ("rig=Rig(", 'rig=Rig(wake_on_lan=WakeOnLan(interface="eth0"),'),
        ("settings import ", "settings import WakeOnLan, "),
    )


@pytest.fixture
def running(box: boxes.Box) -> boxes.Box:
    """Powered on, whatever a test before left."""
    return boxes.up(box.name)


def deeprig(verb: str, inventory: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [DEEPRIG, verb, "--inventory", str(inventory), *words],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | more,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = 120) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def packet(mac: str) -> bytes:
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def is_off(box: boxes.Box) -> bool:
    return not cgroups.alive(box.name, "machine")


@contextmanager
def work(box: boxes.Box) -> Iterator[None]:
    """A job of the work user in tmux, left behind by a login of theirs."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # the lab's own box
    client.connect(box.host, username="ai", password=box.password, look_for_keys=False)
    shell(client, "tmux new-session -d 'exec sleep 5000'")
    client.close()
    try:
        yield
    finally:
        if not is_off(box):
            with connection.connect(host_data(box)) as deployer:
                shell(deployer, "sudo pkill -u ai tmux; sudo pkill -u ai sleep; true")


def test_a_deploy_remembers_the_card_and_its_network(box: boxes.Box, deployed: None) -> None:
    file = box.folder / wake_memory.FILE
    wanted = WakeTarget(network.mac(box.host), f"{network.SUBNET}.0/24")
    assert json.loads(file.read_text()) == {box.host: wanted._asdict()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run_on(box, arm(NAMED)).changes == []
    file.unlink()
    assert run_on(box, arm(NAMED)).changes[0].endswith("Remember here how to wake it")
    assert wake_memory.find(file, box.host) == wanted


def test_a_box_whose_card_refuses_stays_on(running: boxes.Box, inventory: Path) -> None:
    code, out, _ = ended(deeprig("off", inventory))
    assert code == 1
    assert out.startswith(f"{running.name} stays on: eth0 cannot be armed for Wake-on-LAN")
    assert not is_off(running)


@pytest.fixture(scope="module")
def armable(box: boxes.Box, inventory: Path) -> None:
    with connection.connect(host_data(boxes.up(box.name))) as client:
        shell(client, f"sudo sh -c 'mkdir -p $(dirname {SCRIPT}); touch {UNIT}'")
        shell(client, f"sudo sh -c 'cat > {SCRIPT} <<\"END\"\n{STAND_IN}END\n'")
        shell(client, "sudo apt-get -q update; sudo apt-get -qy install tmux")


@pytest.mark.parametrize("address", ["00:11:22:33:44:55; id >/PWNED; : ", "\x1b]0;PWNED\x07"])
def test_a_box_that_lies_about_its_card_stays_on_and_is_not_believed(
    running: boxes.Box, inventory: Path, armable: None, address: str
) -> None:
    """What it says of its card would be a command on the jump host that wakes it one day."""
    file = running.folder / wake_memory.FILE
    remembered = file.read_text()
    liar = f"""#!/bin/sh
case "$1" in */eth0/address) echo {shlex.quote(address)} ;; *) exec /usr/bin/cat "$@" ;; esac
"""
    with connection.connect(host_data(running)) as client:
        shell(client, f"printf %s {shlex.quote(liar)} | sudo tee /usr/local/bin/cat")
        shell(client, "sudo chmod 755 /usr/local/bin/cat")
        try:
            code, out, err = ended(deeprig("off", inventory))
            report = run_on(running, arm(NAMED))
        finally:
            shell(client, "sudo rm /usr/local/bin/cat")
    assert code == 1, out + err
    assert "What it says of its network cards cannot be believed" in out
    assert "\x1b" not in out and out.count("\n") == 1
    assert report.error and report.steps == []
    assert file.read_text() == remembered and not is_off(running)


def test_it_stays_on_while_a_job_runs_and_goes_off_without(
    running: boxes.Box, inventory: Path, armable: None
) -> None:
    with work(running):
        code, out, _ = ended(deeprig("off", inventory, "--json"))
        assert code == 1
        said = json.loads(out)
        assert {"sleep of ai", "tmux: server of ai"} == set(said["work"]), said
        assert said["off"] is False and "sleep of ai" in said["refused"]
        assert not is_off(running)
    (running.upper / ARMED[1:]).write_text("")

    code, out, err = ended(deeprig("off", inventory))
    assert code == 0, out + err
    assert f"`deeprig wake {running.name} --inventory {inventory}` wakes it." in out
    assert is_off(running) and not container.running(running.name)
    armed = (running.upper / ARMED[1:]).read_text().splitlines()
    assert armed[:2] == ["arm eth0", "state eth0"]
    print(out)


def test_it_stays_on_where_systemd_says_no(
    running: boxes.Box, inventory: Path, armable: None, login: Login
) -> None:
    """Since systemd 257 its inhibitors bind root too."""
    forbid = "systemd-inhibit --what=shutdown --mode=block sleep 300"
    login(f"sudo systemd-run --quiet --unit=lab-forbids {forbid}")
    wait_for(lambda: "shutdown" in login("systemd-inhibit --list --no-pager"), 10)
    code, out, err = ended(deeprig("off", inventory))
    assert code == 1, out + err
    assert out.startswith(f"{running.name} stays on: ") and "`systemd-inhibit --list`" in out
    assert not is_off(running)
    code, out, err = ended(deeprig("off", inventory, "--force"))
    assert code == 0, out + err
    assert is_off(running)


def test_forced_it_goes_off_while_a_job_runs(
    running: boxes.Box, inventory: Path, armable: None
) -> None:
    with work(running):
        code, out, err = ended(deeprig("off", inventory, "--force", "--json"))
        assert code == 0, out + err
        assert json.loads(out)["off"] is True
        assert "sleep of ai" in json.loads(out)["work"]  # the control: it did run
        assert is_off(running)


def test_the_packet_wakes_it_and_the_wait_ends_with_a_login(
    box: boxes.Box, inventory: Path, armable: None
) -> None:
    if not is_off(box):
        boxes.cut(box.name, off=True)
    mac = network.mac(box.host)
    with wire.listen(network.ROUTER, network.BRIDGE) as listener:
        process = deeprig("wake", inventory, "--json")
        frame = listener.next(30)
        assert frame == wire.Frame(
            to="ff:ff:ff:ff:ff:ff",
            protocol=wire.BY_IP,
            source=network.THIS_MACHINE,
            target=BROADCAST,
            port=9,
            payload=packet(mac),
        )
        assert len(frame.payload) == 102
        assert listener.all(2) == [frame, frame]
        assert process.poll() is None  # it waits
        boxes.up(box.name)  # what the card does
        code, out, err = ended(process)
    said = json.loads(out)
    assert code == 0, err
    assert (said["awake"], said["already"], said["mac"]) == (True, False, mac)
    assert said["broadcast"] == BROADCAST
    assert said["packets"] in range(3, 100, 3)  # again and again, where the boot takes long
    print(f"awake after {said['seconds']} s")


def test_an_awake_box_gets_no_packet(running: boxes.Box, inventory: Path) -> None:
    with wire.listen(network.ROUTER, network.BRIDGE) as listener:
        code, out, _ = ended(deeprig("wake", inventory))
        assert (code, out) == (0, f"{running.name} is awake already.\n")
        assert listener.all(1) == []


def test_a_box_that_does_not_come_up_is_told(box: boxes.Box, inventory: Path) -> None:
    boxes.cut(box.name, off=True)
    with wire.listen(network.ROUTER, network.BRIDGE) as listener:
        code, out, _ = ended(deeprig("wake", inventory, "--timeout", "5"))
        assert len(listener.all(0.5)) == 3  # the control: they were sent
    assert code == 1
    assert "did not come up in" in out and "ErP" in out and "--via HOST" in out


def test_somebody_else_who_answers_is_not_believed(
    running: boxes.Box, inventory: Path, tmp_path: Path
) -> None:
    pins = tmp_path / "known_hosts"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True
    )
    key = " ".join((tmp_path / "k.pub").read_text().split()[:2])
    pins.write_text(f"{running.host} {key}\n")
    other = tmp_path / "inventory.py"
    other.write_text(inventory.read_text().replace(str(running.known_hosts), str(pins)))
    code, _, err = ended(deeprig("wake", other))
    assert (code, "another host key than the pinned one" in err) == (2, True), err


# A second network, behind the router: the box is alone in it with the second card of a jump host.
FAR_LAN, FAR_BRIDGE, FAR_CABLE = "198.18.88", "t-wake-lan", "t-wake-jump"
FAR_ROUTER, FAR_JUMP, FAR_BOX = (f"{FAR_LAN}.{last}" for last in (254, 2, 20))


class Far:
    """The box in its second network, the jump host, and an inventory of both."""

    def __init__(self, box: boxes.Box, jump: boxes.Box, folder: Path) -> None:
        self.box, self.jump, self.folder = box, jump, folder
        self.mac = network.mac(box.host)
        self.inventory = folder / "inventory.py"

    def cable_over(self) -> None:
        """The box's cable, which the lab has just put into its own bridge."""
        ip = ["ip", "-n", network.ROUTER, "link"]
        cable = network.port(self.box.host)

        def there() -> bool:
            shown = subprocess.run([*ip, "show", cable], capture_output=True, check=False)
            return shown.returncode == 0

        wait_for(there, 20)
        subprocess.run([*ip, "set", cable, "master", FAR_BRIDGE, "up"], check=True)

    def power_on(self) -> None:
        """What the card does; not `boxes.up`, which would wait for it in the first network."""
        container.power_on(
            self.box.name,
            image=Path(self.box.image), folder=self.box.folder, address=self.box.host,
        )  # fmt: skip
        self.cable_over()


def in_router(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", "-n", network.ROUTER, *words], check=check, capture_output=not check)


@pytest.fixture(scope="module")
def far(box: boxes.Box, armable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    name = f"{box.name}-j"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)  # what a test run that was cut off left behind
    for left in (FAR_CABLE, FAR_BRIDGE):
        in_router("link", "delete", left, check=False)
    jump = boxes.up(name, os=box.os)
    there = Far(box, jump, tmp_path_factory.mktemp("far"))
    boxes.cut(box.name, off=True)
    interfaces = box.upper / "etc/network/interfaces"
    text = interfaces.read_text().replace(box.host, FAR_BOX)
    interfaces.write_text(text.replace(network.GATEWAY, FAR_ROUTER))
    in_router("link", "add", FAR_BRIDGE, "type", "bridge")
    in_router("address", "add", f"{FAR_ROUTER}/24", "dev", FAR_BRIDGE)
    in_router("link", "set", FAR_BRIDGE, "up")
    inside = str(container.host_pid(name, 1))
    in_router("link", "add", FAR_CABLE, "type", "veth", "peer", "name", "eth1", "netns", inside)
    in_router("link", "set", FAR_CABLE, "master", FAR_BRIDGE, "up")
    route = ["ip", "route", "replace", f"{FAR_LAN}.0/24", "via", network.GATEWAY]
    subprocess.run(route, check=True)
    with connection.connect(host_data(jump)) as client:
        shell(client, f"sudo ip address add {FAR_JUMP}/24 dev eth1; sudo ip link set eth1 up")
    pins = there.folder / "known_hosts"
    pins.write_text(box.known_hosts.read_text().replace(box.host, FAR_BOX))
    far_lan = WakeTarget(there.mac, f"{FAR_LAN}.0/24")
    wake_memory.keep(pins.with_name(wake_memory.FILE), FAR_BOX, far_lan)
    there.inventory.write_text(
        "from deeprig.settings import Rig, box\n"
        "rigs = [\n"
        f'    box("far", hostname="{FAR_BOX}", key="{box.key}", known_hosts="{pins}", rig=Rig()),\n'
        f'    box("jump", hostname="{jump.host}", key="{jump.key}", '
        f'known_hosts="{jump.known_hosts}", rig=Rig()),\n'
        "]\n"
    )
    yield there
    subprocess.run(["ip", "route", "delete", f"{FAR_LAN}.0/24"], check=False)
    for ours in (FAR_CABLE, FAR_BRIDGE):
        in_router("link", "delete", ours, check=False)
    if not os.environ.get("KEEP"):
        boxes.down(name)


def ssh_that_reads(config: Path, folder: Path) -> str:
    """A PATH whose `ssh` reads this file in place of ~/.ssh/config."""
    folder.mkdir()
    (folder / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
    (folder / "ssh").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_no_router_passes_the_packet_on_and_that_is_said(far: Far) -> None:
    with (
        wire.listen(network.ROUTER, FAR_BRIDGE) as there,
        wire.listen(network.ROUTER, network.BRIDGE) as here,
    ):
        code, _, err = ended(deeprig("wake", far.inventory, "far", "--timeout", "5"))
        assert code == 1
        assert f"This machine ({network.THIS_MACHINE}) is not in {FAR_LAN}.0/24" in err
        assert len(here.all(0.5)) == 3  # the control: they left
        assert there.all(0.5) == []


def test_a_jump_host_of_the_inventory_wakes_it_in_the_other_network(far: Far) -> None:
    with wire.listen(network.ROUTER, FAR_BRIDGE) as listener:
        process = deeprig("wake", far.inventory, "far", "--via", "jump", "--json")
        frame = listener.next(60)
        assert frame == wire.Frame(
            to="ff:ff:ff:ff:ff:ff",
            protocol=wire.BY_IP,
            source=FAR_JUMP,
            target=f"{FAR_LAN}.255",
            port=9,
            payload=packet(far.mac),
        )
        assert listener.all(2) == [frame, frame]
        assert process.poll() is None
        far.power_on()
        code, out, err = ended(process, 300)
    assert code == 0, err
    said = json.loads(out)
    assert (said["awake"], said["via"]) == (True, "jump")
    print(f"awake after {said['seconds']} s")
    container.cut(far.box.name)


def test_a_jump_host_of_ones_own_is_asked_strictly(far: Far, tmp_path: Path) -> None:
    config, pins = tmp_path / "config", tmp_path / "pins"
    config.write_text(
        f"Host lamp\n HostName {far.jump.host}\n User deeprig\n IdentityFile {far.jump.key}\n"
        f" UserKnownHostsFile {pins}\n StrictHostKeyChecking no\n"
    )
    path = ssh_that_reads(config, tmp_path / "bin")
    words = ("far", "--via", "lamp", "--timeout", "2")
    with wire.listen(network.ROUTER, FAR_BRIDGE) as listener:
        code, _, err = ended(deeprig("wake", far.inventory, *words, PATH=path))
        assert code == 2
        assert "--via lamp: Host key verification failed; `ssh lamp true` must work" in err
        assert listener.all(0.5) == []
        pins.write_text(far.jump.known_hosts.read_text())
        code, _, err = ended(deeprig("wake", far.inventory, *words, PATH=path))
        assert (code, len(listener.all(0.5))) == (1, 3), err  # sent; nobody powers it on


def test_a_router_that_has_only_etherwake_sends_it_too(far: Far, tmp_path: Path) -> None:
    only = "/tmp/only"
    with connection.connect(host_data(far.jump)) as client:
        shell(client, "sudo apt-get -q update; sudo apt-get -qy install etherwake")
        for tool in ("etherwake", "ip", "sed", "head", "seq", "sleep", "sh"):
            find = f"sudo sh -c 'command -v {tool}'"
            shell(client, f"mkdir -p {only}; ln -sf $({find}) {only}/{tool}")
        script = (ROOT / "deeprig_cli/power/magic_packet.sh").read_text()
        with wire.listen(network.ROUTER, FAR_BRIDGE) as listener:
            said = shell(
                client,
                f"sudo env PATH={only} sh -s {far.mac} {FAR_LAN}.255 9 3 <<'END'\n{script}END\n",
            )
            frames = listener.all(1)
    assert said.splitlines()[-1] == "sent by etherwake"
    assert len(frames) == 3
    for frame in frames:
        assert (frame.to, frame.protocol) == ("ff:ff:ff:ff:ff:ff", wire.MAGIC)
        assert frame.payload[:102] == packet(far.mac)
