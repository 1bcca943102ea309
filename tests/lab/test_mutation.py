"""The suite is tested too: break one thing on a box, and exactly the matching check fails."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from lab import boxes
from tests.lab.conftest import DEEPRIG, ROOT, deploy, variant
from tests.lab.receivers import Ntfy

pytestmark = pytest.mark.lab

LINK = "/etc/systemd/network/*.link.d/50-deeprig-wake-on-lan.conf"
SSHD = "/etc/ssh/sshd_config.d/01-broken.conf"


class Breakage(NamedTuple):
    check: str
    breaks: str
    mends: str


def sshd(line: str, check: str) -> Breakage:
    # A reloaded sshd opens its port anew, and refuses whoever comes in that moment.
    reload = "{ systemctl reload ssh || systemctl restart ssh.socket; }; sleep 1"
    return Breakage(check, f"echo '{line}' > {SSHD}; {reload}", f"rm {SSHD}; {reload}")


BREAKAGES = [
    Breakage(
        "the box never goes to sleep: suspend",
        "systemctl unmask suspend.target",
        "systemctl mask suspend.target",
    ),
    Breakage(
        "apt waits for another apt",
        "echo 'DPkg::Lock::Timeout \"5\";' > /etc/apt/apt.conf.d/zz-broken",
        "rm /etc/apt/apt.conf.d/zz-broken",
    ),
    Breakage(
        "an update never reboots the box",
        "echo 'Unattended-Upgrade::Automatic-Reboot \"true\";' > /etc/apt/apt.conf.d/zz-broken",
        "rm /etc/apt/apt.conf.d/zz-broken",
    ),
    Breakage(
        "no unit has failed",
        "systemd-run --quiet --wait --unit=broken false",
        "systemctl reset-failed broken",
    ),
    Breakage(
        "the firewall is on now and at boot",
        "systemctl disable ufw.service",
        "systemctl enable ufw.service",
    ),
    Breakage(
        "the rules are those of the settings",
        "ufw allow 9999/tcp comment 'deeprig 9999/tcp'",
        "ufw delete allow 9999/tcp",
    ),
    Breakage(
        "nothing but ssh listens beyond loopback",
        "systemd-run --quiet --unit=open python3 -m http.server 8099; sleep 2",
        "systemctl stop open",
    ),
    sshd("AllowAgentForwarding no", "agents may be forwarded"),
    sshd("AllowTcpForwarding no", "a tunnel to any port goes through"),
    sshd("KexAlgorithms curve25519-sha256@libssh.org", "the key exchange is post quantum first"),
    Breakage(
        "a power cut in a change would be undone at boot",
        "systemctl disable deeprig-access-boot.service",
        "systemctl enable deeprig-access-boot.service",
    ),
    Breakage(
        "the work user is in no group that leads to root",
        "groupadd docker; gpasswd -a ai docker",
        "groupdel docker",
    ),
    Breakage(
        "the work user gets to root by no sudo without a password",
        "echo 'ai ALL=(ALL) NOPASSWD: /bin/true' > /etc/sudoers.d/60-broken",
        "rm /etc/sudoers.d/60-broken",
    ),
    Breakage(
        "the deploy user has no password",
        "echo deeprig:abc | chpasswd",
        "usermod -p '*' deeprig",
    ),
    Breakage(
        "the token is its users alone",
        "chmod 644 ~ai/.config/deeprig/notebook-token",
        "chmod 600 ~ai/.config/deeprig/notebook-token",
    ),
    Breakage(
        "another account reaches neither server",
        "nft delete table inet deeprig_notebook",
        "/usr/local/lib/deeprig/current/deeprig-box notebook-guard load",
    ),
    Breakage(
        "numpy multiplies matrices",
        "mv ~ai/envs/base/lib/python3*/site-packages/numpy /root/",
        "mv /root/numpy ~ai/envs/base/lib/python3*/site-packages/",
    ),
    Breakage(
        "no library path is set",
        "echo LD_LIBRARY_PATH=/usr/lib >> /etc/environment",
        "sed -i /LD_LIBRARY_PATH/d /etc/environment",
    ),
    Breakage(
        "the users folder is closed to others",
        "chmod 755 /mnt/data-disk/ai",
        "chmod 750 /mnt/data-disk/ai",
    ),
    Breakage(
        "a login shell knows the caches",
        "echo 'export HF_HOME=/tmp' > /etc/profile.d/zz-broken.sh",
        "rm /etc/profile.d/zz-broken.sh",
    ),
    Breakage(
        "the address is roots alone",
        "chmod 644 /etc/deeprig/notify.conf",
        "chmod 600 /etc/deeprig/notify.conf",
    ),
    Breakage(
        "it is armed at every boot and before power off",
        "systemctl disable deeprig-wake-on-lan.service",
        "systemctl enable deeprig-wake-on-lan.service",
    ),
    Breakage(
        "the file that wins arms the card",
        f"sed -i s/magic/off/ {LINK}",
        f"sed -i s/off/magic/ {LINK}",
    ),
    Breakage(
        "what is not as the manifest says was moved by dpkg since",
        'sed -i \'s/"openssh-server": "/&0/\' /var/lib/deeprig/manifest.json',
        'sed -i \'s/"openssh-server": "0/"openssh-server": "/\' /var/lib/deeprig/manifest.json',
    ),
]


@pytest.fixture(scope="module", autouse=True)
def sound(box: boxes.Box) -> Iterator[None]:
    """The control: nothing fails before anything is broken.

    The box has what is off by default too; who is told is a stand-in for an ntfy server.
    """
    server = Ntfy()
    server.start()
    more = f'wake_on_lan=WakeOnLan(interface="eth0"), notify="{server.url("boxes")}", storage='
    variant(box, box.inventory, ("Storage,", "Storage, WakeOnLan,"), ("storage=", more))
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    assert wrong(box) == []
    yield
    server.stop()


def wrong(box: boxes.Box) -> list[str]:
    """The checks that fail. The plan is not asked: what a deploy would mend is its own subject."""
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(box.inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return [
        check["check"]
        for check in json.loads(done.stdout)
        if check["outcome"] not in ("passed", "skipped") and check["component"] != "idempotence"
    ]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=[b.check.replace(" ", "-") for b in BREAKAGES])
def test_exactly_the_matching_check_fails(
    box: boxes.Box, login: Callable[..., str], breakage: Breakage
) -> None:
    login(as_root(breakage.breaks), check=False)
    try:
        assert wrong(box) == [breakage.check]
    finally:
        login(as_root(breakage.mends))


def test_the_suite_is_content_again(box: boxes.Box) -> None:
    assert wrong(box) == []


def as_root(script: str) -> str:
    quoted = script.replace("'", "'\\''")
    return f"sudo sh -c '{quoted}'"
