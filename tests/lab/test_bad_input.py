"""Bad input ends in one sentence, with the right exit code, and leaves the box as it was."""

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprig.ssh import connection
from lab import boxes, network
from tasks import one_deploy
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT, host_data, running, shell, wait_for

pytestmark = pytest.mark.lab

NOWHERE = "198.18.86.250"  # nobody has this address in the lab's network


def pyinfra(inventory: Path, *more: str) -> tuple[int, str]:
    """Exit status and output of pyinfra's command line, which must be no traceback."""
    done = subprocess.run(
        [PYINFRA, "-y", str(inventory), *(more or ["deploy.py"])],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


@pytest.fixture
def untouched(box: boxes.Box, login: Callable[..., str]) -> Callable[[], bool]:
    """Whether nothing was changed on the box since the test began."""
    look = (
        "sudo find /etc /usr /opt /var/lib/deeprig /home -newer /tmp/begin -type f "
        "-not -name '*.lease' -not -path '/home/*/.cache/*' 2>/dev/null; true"
    )
    login("sleep 1; touch /tmp/begin")
    return lambda: login(look).strip() == ""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('Notebook(user="ai")', 'Notebook(user="ai", port="8888")', "Notebook.port is '8888'"),
        ('Notebook(user="ai")', 'Notebook(user="ai", prot=1)', "Notebook.prot is no setting"),
        (
            'Notebook(user="ai")',
            'Notebook(user="ai", port=6006)',
            "Notebook.tensorboard_port is 6006, which JupyterLab has; pick another",
        ),
        ("id_ed25519", "id_gone", "which is no file; name the private key"),
        ("import Notebook", "import Notebok", "Notebok"),
    ],
    ids=["wrong-type", "unknown-setting", "port-clash", "no-key-file", "typing-error"],
)
def test_a_wrong_setting_is_named_with_its_line(
    changed: Callable[..., Path],
    untouched: Callable[[], bool],
    box: boxes.Box,
    old: str,
    new: str,
    sentence: str,
) -> None:
    inventory = changed((old, new))
    if new == "import Notebok":  # Python's own error, which our verbs put in one line
        done = subprocess.run(
            [DEEPRIG, "plan", "--inventory", str(inventory)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert sentence in done.stderr
        return
    status, said = pyinfra(inventory)
    assert status == 1
    [line] = [line for line in said.splitlines() if sentence in line]
    assert "inventory.py line " in line
    assert box.name in line
    assert untouched()


@pytest.fixture
def met(box: boxes.Box, tmp_path: Path) -> tuple[str, str]:
    """Of the inventory: the file of pinned host keys, and one that has a key for NOWHERE too."""
    file = Path(str(host_data(box)["ssh_known_hosts_file"]))
    lines = file.read_text().splitlines()
    its = [line for line in lines if line.startswith(f"{box.host} ")]
    assert its
    new = tmp_path / "met"
    moved = [NOWHERE + line.removeprefix(box.host) for line in its]
    new.write_text("\n".join([*lines, *moved, ""]))
    return str(file), str(new)


def test_a_box_that_does_not_answer(
    box: boxes.Box, changed: Callable[..., Path], met: tuple[str, str]
) -> None:
    status, said = pyinfra(changed((f'"{box.host}"', f'"{NOWHERE}"'), met))
    assert status == 1
    assert f"{NOWHERE} port 22 does not answer" in said


def test_a_user_whom_the_key_does_not_let_in(box: boxes.Box, changed: Callable[..., Path]) -> None:
    status, said = pyinfra(changed(('user="deeprig"', 'user="nobody"')))
    assert status == 1
    assert "this key does not open it; run `deeprig bootstrap" in said


def test_a_user_without_free_sudo(
    changed: Callable[..., Path], untouched: Callable[[], bool]
) -> None:
    status, said = pyinfra(changed(('user="deeprig"', 'user="ai"')))
    assert status == 1
    assert "ai needs a password for sudo" in said
    assert "sudo password:" not in said
    assert untouched()


def test_a_box_that_was_never_met(changed: Callable[..., Path]) -> None:
    status, said = pyinfra(changed(("/known_hosts", "/no_hosts")))
    assert status == 1
    assert "has no host key in" in said
    assert "pin it with `deeprig bootstrap" in said


def test_a_work_user_who_is_not_there(
    changed: Callable[..., Path], untouched: Callable[[], bool]
) -> None:
    status, said = pyinfra(changed(('Notebook(user="ai")', 'Notebook(user="bob")')))
    assert status == 1
    assert "Notebook.user is 'bob', and nobody has that name; add User(name='bob'" in said
    assert untouched()


@pytest.mark.parametrize(
    ("dirt", "clean", "sentence"),
    [
        (
            "sed -i.was s/^VERSION_ID=.*/VERSION_ID=99/ /usr/lib/os-release",
            "mv /usr/lib/os-release.was /usr/lib/os-release",
            "deeprig is for Debian 12, Debian 13, Ubuntu 22.04",
        ),
        (
            "touch /usr/bin/nvidia-uninstall",
            "rm /usr/bin/nvidia-uninstall",
            "a driver from a .run file, which would fight with ours; take it out with "
            "`sudo sh -c 'nvidia-uninstall'`",
        ),
        (
            "echo 'deb http://x/graphics-drivers/ppa y main' > /etc/apt/sources.list.d/p.list",
            "rm /etc/apt/sources.list.d/p.list",
            "the graphics-drivers PPA",
        ),
        (
            "gpasswd -a ai staff; groupadd docker; gpasswd -a ai docker",
            "groupdel docker",
            "ai', who is in group docker",
        ),
    ],
    ids=["unsupported-release", "run-file-driver", "graphics-ppa", "work-user-in-docker"],
)
def test_a_box_that_must_be_left_alone(
    box: boxes.Box, login: Callable[..., str], dirt: str, clean: str, sentence: str
) -> None:
    login(f'sudo sh -c "{dirt}"')
    login("sleep 1; touch /tmp/begin")
    try:
        status, said = pyinfra(box.inventory)
        assert status == 1
        assert sentence in said
        assert "Starting operation" not in said
        assert login("sudo find /etc /usr /opt -newer /tmp/begin -type f; true").strip() == ""
    finally:
        login(f'sudo sh -c "{clean}"')


def test_another_deploy_that_is_at_work(
    box: boxes.Box, changed: Callable[..., Path], untouched: Callable[[], bool]
) -> None:
    other = connection.connect(host_data(box))
    try:
        assert shell(other, f"sudo sh -c {shlex.quote(one_deploy.TAKE)}") == "taken\n"
        status, said = pyinfra(changed())
        assert status == 1
        [pid] = re.findall(r"for 0 min, and each would undo .* `sudo kill ([0-9]+)` there", said)
        assert untouched()
        # The remedy: what it names is that login, and nothing is in the way when it has ended.
        assert shell(other, "echo in") == "in\n"
        with connection.connect(host_data(box)) as second:
            shell(second, f"sudo kill {pid}")
            wait_for(lambda: not other.get_transport().is_active(), 20)
            assert shell(second, f"sudo sh -c {shlex.quote(one_deploy.OTHER)}") == ""
    finally:
        other.close()


def test_one_box_that_fails_does_not_stop_the_other(
    box: boxes.Box,
    changed: Callable[..., Path],
    login: Callable[..., str],
    met: tuple[str, str],
) -> None:
    inventory = changed(
        (
            "rigs = [",
            f'rigs = [\n    box("gone", hostname="{NOWHERE}", known_hosts={met[1]!r}, rig=Rig()),',
        ),
        ('notebook=Notebook(user="ai"),', "notebook=None, python=None,"),
        ('            python=Python(python="system"),\n', ""),
    )
    status, said = pyinfra(inventory)
    assert status == 1
    assert re.search(rf"\[gone\] .*{NOWHERE} port 22 does not answer", said)
    assert "Manifest | Write /var/lib/deeprig/manifest.json" in said
    assert "Status: active" in login("sudo ufw status")


ASKS_FOR_LONG = """
from pyinfra.api import FactBase
class Long(FactBase):
    def command(self):
        return "/tmp/take-long 120"
    def process(self, output):
        return None
host.get_fact(Long)
"""
DOES_LONG = """
from pyinfra.operations import server
server.shell(name="Take long", commands=["/tmp/take-long 120"])
"""


@pytest.mark.parametrize("step", [ASKS_FOR_LONG, DOES_LONG])
def test_an_unplugged_cable_ends_the_run_in_one_sentence(
    box: boxes.Box, login: Callable[..., str], tmp_path: Path, step: str
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "from pyinfra.context import config, host\n"
        "from tasks import base, one_deploy\n"
        "config.SUDO = True\n"
        "base.survey(rig=host.data.rig)\n"
        "one_deploy.begin()\n" + step
    )
    # A name that nothing else has; one of the case before may still run.
    login("sudo pkill -x take-long; ln -sf /bin/sleep /tmp/take-long")
    unplugged = []

    def unplug() -> None:
        if wait_for(lambda: "take-long" in running(box), 200):
            network.unplug(box.host)
            unplugged.append(time.monotonic())

    waits = threading.Thread(target=unplug)
    waits.start()
    try:
        status, said = pyinfra(box.inventory, str(slow))
        waits.join()
        assert time.monotonic() - unplugged[0] < 30
        assert status == 1
        assert said.count("has not answered for 12 seconds; see to its power and cable") == 1
    finally:
        network.plug(box.host)
    taken = login(f"sudo sh -c {shlex.quote(one_deploy.TAKE)}").strip()
    assert taken == "taken"  # what went with the cable is in nobody's way
