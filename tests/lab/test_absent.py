"""Every component that can be taken out: deployed, gone again, compared with a box without it.

The card, the driver's packages, CUDA's and NVIDIA's two repositories are the lab's stand-ins.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import boxes
from lab.stand_ins import container_toolkit, nvidia_repository
from tests.lab import drivers
from tests.lab.conftest import deploy, variant
from tests.lab.drivers import INSTALL, RTX_3090
from tests.lab.guarded import Run, shell

pytestmark = pytest.mark.lab

NAMES = (
    "containers", "cuda", "driver", "firewall", "notebook", "python", "storage", "wake_on_lan"
)  # fmt: skip
NONE = ", ".join(f"{name}=None" for name in NAMES)
ABSENT = f"absent={{{', '.join(map(repr, NAMES))}}}"
OURS = ('python=Python(python="system"),', ""), ('notebook=Notebook(user="ai"),', "")
KERNEL = f"sudo apt-get -q update && {INSTALL} linux-image-amd64 initramfs-tools"
# What is compared, a line for each thing.
LOOK = r"""
dpkg-query -W -f 'package ${db:Status-Abbrev} ${Package}\n' | tr -s ' '
apt-mark showhold | sed 's/^/hold /'
systemctl list-unit-files --no-legend --state=enabled,masked | awk '{print "unit", $1, $2}'
ls /etc/systemd/user/*.wants/* /var/lib/systemd/linger/* 2>/dev/null | sed 's/^/user unit /'
getent passwd | sed 's/^/account /'; getent group | sed 's/^/group /'
find /etc /opt /usr/local /home /root /boot /var/lib/deeprig /var/log/deeprig /mnt /lib/modules \
    -xdev -path '/home/*/envs/base/*' -prune -o -printf 'file %y %m %u:%g %p %l\n'
find /etc /usr/local -xdev -type f -print0 | xargs -0 sha256sum | awk '{print "content", $2, $1}'
"""
# What differs afterwards, and why it does.
WHY = {
    r"content /etc/(hostname|hosts|machine-id|network/interfaces|ssh/ssh_host_)": "each its own",
    r"content /etc/(passwd|group|shadow|gshadow|subuid|subgid)-? ": "passwords, and the next two",
    r"content /etc/ld.so.cache ": "ldconfig's cache, made at other moments",
    r"(account|group) (nvidia-persistenced|docker):": "Debian leaves what packages made of these",
    r"file d 7.. root:root /etc/cni": "containerd's package leaves it",
    r"file . \d+ ai:ai /home/ai/(envs|\.(ipython|jupyter|config|local))": "theirs; told before",
    r"file d 755 root:root /var/log/deeprig ": "logs tell what was, also of what is gone",
}


class Pair(NamedTuple):
    """The box whose parts were taken out, its inventories, and the box that never had them."""

    box: boxes.Box
    whole: Path
    absent: Path
    never: boxes.Box


@pytest.fixture(scope="module")
def pair(box: boxes.Box) -> Iterator[Pair]:
    name = "t-absent-never"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    never = boxes.up(name, os=box.os)
    with (
        nvidia_repository.serve(["debian13"], ["595.91.07"]) as nvidia,
        container_toolkit.serve() as toolkit,
    ):
        known = f'mirror="{nvidia.url}", repo_key="{nvidia.fingerprint("debian13")}"'
        docker = f'mirror="{toolkit.url}", repo_key="{toolkit.fingerprint}"'
        settings = (
            f'driver=Driver(gpus=("{RTX_3090}",), branch="595", {known}), cuda=Cuda({known}), '
            f'containers=Containers({docker}), wake_on_lan=WakeOnLan(interface="eth0"),'
        )
        imports = ("import Notebook,", "import Containers, Cuda, Driver, WakeOnLan, Notebook,")
        whole = variant(
            box, box.inventory.with_name("whole.py"), ("rig=Rig(", f"rig=Rig({settings}"), imports
        )
        bare = (*OURS, ('storage=Storage(folder="/mnt/data-disk"),', ""))
        absent = variant(
            box, box.inventory.with_name("absent.py"), *bare, ("rig=Rig(", f"rig=Rig({ABSENT},")
        )
        without = variant(
            never, never.inventory.with_name("without.py"), *bare, ("rig=Rig(", f"rig=Rig({NONE},")
        )
        for each, file in ((never, without), (box, whole)):
            drivers.on(each, KERNEL)
            done = deploy(file)
            assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        yield Pair(box, whole, absent, never)
    if not os.environ.get("KEEP"):
        boxes.down(name)


@pytest.fixture
def run(pair: Pair) -> Run:
    return shell(pair.box)


def test_what_is_in_use_stays_until_the_next_deploy(pair: Pair, run: Run) -> None:
    sleep = "/opt/deeprig/notebook/bin/python -c 'import time; time.sleep(600)'"
    run(f"sudo systemd-run --quiet --unit lab-work {sleep}")
    done = deploy(pair.absent)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "python stays for now: there runs python" in said
    assert "Taking out python: ~/envs, their kernels and uv's cache stay" in said
    run("test -x /opt/deeprig/uv/bin/uv && sudo systemctl stop lab-work")


def test_the_same_command_again_takes_out_the_rest_and_then_changes_nothing(pair: Pair) -> None:
    assert drivers.changes(deploy(pair.absent))[:1] == ["Absent | Take out python"]
    assert drivers.changes(deploy(pair.absent)) == []


def test_the_box_is_as_one_that_never_had_them_but_for_what_has_a_reason(pair: Pair) -> None:
    there, never = (
        sorted(shell(box)("sudo sh -s", stdin=LOOK).replace(box.name, "NAME").splitlines())
        for box in (pair.box, pair.never)
    )
    differs = [
        line for line in difflib.unified_diff(never, there, "never", "absent", n=0)
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]  # fmt: skip
    without_reason = [line for line in differs if not any(re.match(p, line[1:]) for p in WHY)]
    assert without_reason == [], "\n".join(without_reason)


def test_all_of_it_comes_back_by_a_deploy(pair: Pair) -> None:
    done = deploy(pair.whole)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert drivers.verified(pair.whole)["passed"]
