"""What is measured side by side: how each is started, against a box behind some door."""

import json
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

from bench import wanted
from deeprig.settings import DEPLOY_USER
from deeprig.ssh import known_hosts
from deeprig_cli.verify.live_host import SECONDS_TO_START
from lab import boxes

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/bench"
# The newest for Python 3.11, and the mitogen that takes it; their own environment, not ours.
ANSIBLE, MITOGEN = "ansible-core==2.19.14", "mitogen==0.3.54"
# Of a command to a pretended box: a round trip to a box that answers at once.
FAKE_SECONDS = 0.05


@dataclass(frozen=True)
class Contender:
    """A command line. `pyinfra` where its channels can be counted."""

    name: str
    command: list[str]
    pyinfra: bool = True
    env: dict[str, str] = field(default_factory=dict)
    good: tuple[int, ...] = (0,)


def thirty(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """The thirty operations by deeprig's connector, pyinfra's own, and ansible."""
    ours = [
        _pyinfra(name, box, door, "bench/thirty.py", kind)
        for name, kind in (
            ("pyinfra, @fast", "@fast/"),
            ("pyinfra, TCP_NODELAY", "nodelay"),
            ("pyinfra", ""),
        )
    ]
    return [*ours, *_ansible(box, door)]


def whole(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """deploy.py over both connections; the plain one has TCP_NODELAY here too."""
    return [
        _whole(f'deeprig, Rig(connection="{kind}")', box, door, kind) for kind in ("fast", "ssh")
    ]


def sixteen(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """One box under sixteen names: to the control machine and to two cores it is sixteen."""
    text = inventory_of(box, door, "fast").read_text()
    ways = []
    for count in (1, 4, 16):
        file = WORK / f"deeprig-fast-{count}.py"
        names = [f"{box.name}-{number}" for number in range(count)]
        # For a box of somebody's own, whose sshd turns some away.
        retries = '{"ssh_connect_retries": 20, "ssh_connect_retry_max_delay": 1.0}'
        again = f"rigs = [(f'@fast/{{n}}', rigs[0][1] | {retries}) for n in {names!r}]\n"
        file.write_text(text + again)
        name = f'deeprig, Rig(connection="fast"), {count} boxes'
        ways.append(_counted(name, [str(file), "deploy.py"]))
    return ways


def fleet(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """What the control machine needs for many, by pyinfra's own @fake: nobody else is asked."""
    ways = []
    for count in (1, 16, 100):
        data = {"fake_delay": FAKE_SECONDS, "fake_delay_jitter": 0, "bench_hostname": "fake"}
        file = WORK / f"fake-{count}.py"
        file.write_text(f"boxes = [(f'@fake/{{n}}', {data!r}) for n in range({count})]\n")
        ways.append(_counted(f"pyinfra, {count} @fake", [str(file), "bench/thirty.py"]))
    return ways


def settle(box: boxes.Box) -> None:
    """Deploy, so that nothing is left to change: from nearby, for a new login must reach it."""
    near = (box.host, box.port)
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    subprocess.run(
        [pyinfra, "-y", str(inventory_of(box, near, "ssh")), "deploy.py"],
        cwd=ROOT,
        check=True,
        stdout=sys.stderr,
    )


def let_many_in(box: boxes.Box) -> None:
    """Sixteen boxes have an sshd each; one lets ten at a time in that have not logged in yet."""
    command = (
        "echo MaxStartups 100 | sudo tee /etc/ssh/sshd_config.d/05-bench.conf && "
        "sudo systemctl reload ssh"
    )
    ssh, environment = boxes.ssh_command(box)
    subprocess.run([*ssh, command], env=environment, check=True, stdout=sys.stderr)


def verify(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """The checks by one kept shell, and by an exec for each."""
    _let_it_grow_old(box)
    deeprig = str(Path(sys.executable).with_name("deeprig"))
    # 1: a check failed, as one of the door may, which is not the box's own. It took its time too.
    return [
        Contender(
            f'deeprig verify, Rig(connection="{kind}")',
            [deeprig, "verify", "--inventory", str(inventory_of(box, door, kind)), "--json"],
            pyinfra=False,
            good=(0, 1),
        )
        for kind in ("fast", "ssh")
    ]


def _let_it_grow_old(box: boxes.Box) -> None:
    """A box that has just started is asked one by one."""
    ssh, environment = boxes.ssh_command(box)
    age = subprocess.check_output([*ssh, "ps -o etimes= -p 1"], env=environment)
    time.sleep(max(0, SECONDS_TO_START - int(age)))


def _pyinfra(name: str, box: boxes.Box, door: tuple[str, int], deploy: str, kind: str) -> Contender:
    """An inventory as any pyinfra user writes it: nothing of deeprig in it."""
    known = _known_hosts(box, door)
    nodelay = kind == "nodelay"
    data = {
        "ssh_hostname": door[0],
        "ssh_port": door[1],
        "ssh_user": DEPLOY_USER,
        "ssh_key": str(box.key),
        "ssh_known_hosts_file": str(known),
        "fast_questions": str(WORK / "questions"),
        "bench_hostname": box.name,
    }
    file = WORK / f"inventory-{kind.strip('@/') or 'plain'}.py"
    lines = [f"data = {data!r}"]
    if nodelay:
        lines = [
            "from fast_ssh.sending import transport_factory",
            *lines,
            'data["ssh_paramiko_connect_kwargs"] = {"transport_factory": transport_factory}',
        ]
    target = box.name if nodelay else f"{kind}{box.name}"
    file.write_text("\n".join([*lines, f"boxes = [({target!r}, data)]", ""]))
    return _counted(name, [str(file), deploy])


def _whole(name: str, box: boxes.Box, door: tuple[str, int], kind: str) -> Contender:
    return _counted(name, [str(inventory_of(box, door, kind)), "deploy.py"])


def _counted(name: str, arguments: list[str]) -> Contender:
    return Contender(name, [sys.executable, "-m", "bench.counted", "-y", *arguments])


def inventory_of(box: boxes.Box, door: tuple[str, int], kind: str) -> Path:
    """The box's own inventory, dialled through the door."""
    known = _known_hosts(box, door)
    text = box.inventory.read_text()
    for old, new in (
        (f'hostname="{box.host}"', f'hostname="{door[0]}"'),
        (f"port={box.port},", f"port={door[1]},"),
        (json.dumps(str(box.known_hosts)), json.dumps(str(known))),
        ("rig=Rig(", f'rig=Rig(\n            connection="{kind}",\n            ssh=Ssh(port=22),'),
        ("import Notebook", "import Ssh, Notebook"),
    ):
        assert old in text, f"the lab's inventory has no {old}"
        text = text.replace(old, new)
    file = WORK / f"deeprig-{kind}.py"
    file.write_text(text)
    return file


def _known_hosts(box: boxes.Box, door: tuple[str, int]) -> Path:
    """The box's host keys, pinned for the door."""
    keys = {tuple(line.split()[1:3]) for line in box.known_hosts.read_text().splitlines()}
    file = WORK / "known_hosts"
    name = known_hosts.label(*door)
    file.write_text("".join(f"{name} {' '.join(key)}\n" for key in sorted(keys)))
    return file


def _ansible(box: boxes.Box, door: tuple[str, int]) -> list[Contender]:
    """With pipelining, and a connection that is kept for the run; and by mitogen's strategy."""
    tools = WORK / "ansible"
    if not list(tools.glob("lib/*/site-packages/ansible_mitogen")):
        venv.create(tools, with_pip=True)
        subprocess.run([tools / "bin/pip", "install", "--quiet", ANSIBLE, MITOGEN], check=True)
    (WORK / "thirty.json").write_text(wanted.playbook(box.name))
    ssh = f"-o UserKnownHostsFile={_known_hosts(box, door)} -o StrictHostKeyChecking=yes"
    hosts = {
        "ansible_host": door[0],
        "ansible_port": str(door[1]),
        "ansible_user": DEPLOY_USER,
        "ansible_ssh_private_key_file": str(box.key),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": ssh,
    }
    line = " ".join(f"{key}={shlex.quote(value)}" for key, value in hosts.items())
    (WORK / "hosts").write_text(f"{box.name} {line}\n")
    command = [tools / "bin/ansible-playbook", "-i", WORK / "hosts", WORK / "thirty.json"]
    [plugins] = tools.glob("lib/*/site-packages/ansible_mitogen/plugins/strategy")
    pipelining = {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=20s",
        # A link of its own for each door: behind the last one nobody answers any more.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": tempfile.mkdtemp(prefix="bench-"),
    }
    mitogen = {"ANSIBLE_STRATEGY_PLUGINS": str(plugins), "ANSIBLE_STRATEGY": "mitogen_linear"}
    return [
        Contender(
            f"ansible-core 2.19, {name}", [*map(str, command)], pyinfra=False, env=environment
        )
        for name, environment in (("pipelining", pipelining), ("mitogen", mitogen))
    ]
