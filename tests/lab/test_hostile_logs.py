"""A log line is believed by who wrote it, not by what it says."""

import io
import shlex
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprig.ssh import connection
from lab import boxes
from tests.lab.conftest import host_data

pytestmark = pytest.mark.lab

Login = Callable[..., str]
PACKAGE = Path(__file__).parents[2] / "box/deeprig_box"
ANSWER = "/run/answer"
# Without any login of this boot in the journal but what is written here.
ASK = f"""
journalctl --quiet --rotate; journalctl --quiet --vacuum-time=1s; sleep 1.2
journalctl --quiet --rotate; journalctl --quiet --vacuum-time=1s
for name in sshd sshd-session; do
    runuser -u ai -- logger -t $name 'Accepted publickey for nobody from 192.0.2.1 port 1 ssh2'
    runuser -u ai -- python3 -c 'import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("/run/systemd/journal/socket")
s.send(b"MESSAGE=Accepted nobody\\nSYSLOG_IDENTIFIER='$name'\\n_UID=0\\n_COMM='$name'\\n")'
done
logger 'Accepted nobody of root'
journalctl --sync
journalctl -b -q -o cat -t sshd -t sshd-session > {ANSWER}.lines
cd /run/scripts
python3 -c 'from deeprig_box.boot import health; print(health.logins())' > {ANSWER} 2>&1
"""


@pytest.fixture(scope="module", autouse=True)
def scripts(box: boxes.Box) -> None:
    """What runs on boxes, in a folder of root's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(PACKAGE, PACKAGE.name)
    with connection.connect(host_data(box)) as client:
        stdin, output, _ = client.exec_command(
            "sudo sh -c 'mkdir /run/scripts; tar xC /run/scripts'"
        )
        stdin.write(packed.getvalue())
        stdin.channel.shutdown_write()
        assert output.channel.recv_exit_status() == 0


def test_a_login_that_anybody_wrote_down_confirms_no_boot(login: Login) -> None:
    login(f"sudo systemd-run --quiet --collect --on-active=2 sh -c {shlex.quote(ASK)}")
    time.sleep(12)  # no login meanwhile: it would count
    assert "Accepted nobody" in login(f"cat {ANSWER}.lines")  # the control: they are there
    assert login(f"cat {ANSWER}").strip() == "False"


def test_a_real_login_counts(login: Login) -> None:
    """This very one."""
    asked = (
        "cd /run/scripts && "
        "sudo python3 -c 'from deeprig_box.boot import health; print(health.logins())'"
    )
    assert login(asked).strip() == "True"
