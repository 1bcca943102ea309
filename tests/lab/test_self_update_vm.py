"""The power fails while a box of the earlier layout is moved: what boots is one program, whole.

A VM, for a container loses nothing that was written. The driver and its repository are the lab's
stand-ins; with them the box has each unit and hook that runs at a boot. What takes minutes on an
emulated processor, and is not looked at, is installed while the box is off: offline.py.
"""

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from deeprig import catalog
from deeprig.operations import box_program
from lab import boxes
from lab.stand_ins import nvidia_repository
from tests.lab import clock, drivers, earlier, kept, offline
from tests.lab.conftest import PYINFRA, ROOT, deploy, variant, wait_for
from tests.lab.drivers import RTX_3090
from tests.lab.guarded import FIRST, NEWEST_DRIVER, Run, know, shell
from tests.lab.test_main_job import verify
from tests.lab.test_main_job_vm import ASK_THE_TIME, SECONDS_TO_VERIFY

pytestmark = pytest.mark.lab

NAME = "t-self-vm"
OS, DIST = "debian-13", "debian13"
TOP = "/usr/local/lib/deeprig"
LEAVE = "Program | No loose files of earlier versions, and nothing that calls them"
HERE = "/run/lab-here"
# Places in the box's own script at which it waits for the power to fail.
WAIT = f": > {HERE}; sleep 900"
PLACES = {
    "unpacking": ("    base64 -d |", f"    {{ head -c 60000; {WAIT}; cat; }} | base64 -d |"),
    "unpacked": ("        sync $top\n    fi\n", f"        sync $top\n{WAIT}\n    fi\n"),
    "switched": (
        "    mv -fT $top/.current $top/current\n",
        f"    mv -fT $top/.current $top/current\n{WAIT}\n",
    ),
}
# What `pyinfra inventory.py` runs in the place of deploy.py: the same, and it waits there.
PAUSED = """
from pyinfra.context import config, host
from deeprig.operations import box_program
from deploy import build
place, waiting = {place!r}
if waiting not in box_program.PUT:  # pyinfra may run this file twice
    assert place in box_program.PUT
    box_program.PUT = box_program.PUT.replace(place, waiting)
config.SUDO = True
build(rig=host.data.rig)
"""
# Each unit of ours that this boot has begun, and how it went.
UNITS = """
systemctl list-units --all --no-legend --plain 'deeprig-*.service' | while read -r unit rest; do
    [ "$(systemctl show -P ExecMainStartTimestampMonotonic $unit)" = 0 ] ||
        echo $unit $(systemctl show -P Result $unit) $(systemctl show -P ExecMainStatus $unit)
done
"""
SECONDS_TO_GET_THERE = 900


class Old(NamedTuple):
    """The box as the earlier tree deployed it, off; that tree; and its inventory for today's."""

    box: boxes.Box
    tree: Path
    inventory: Path


@pytest.fixture(scope="module")
def old() -> Iterator[Old]:
    if NAME in [box.name for box in boxes.every()]:
        boxes.down(NAME)
    packages = ("curl", "dkms", "gcc", "linux-headers-amd64")
    with (
        earlier.tree() as tree,
        nvidia_repository.serve([DIST], []) as nvidia,
        clock.serving() as server,
    ):
        box = boxes.up(NAME, os=OS, kind="vm", packages=packages)
        nvidia.offer(FIRST)
        names = catalog.load("packages")
        more = [
            *names["tools"],
            *names["updates"],
            names["clock"],
            *names["disks"],
            "ufw",
            "ethtool",
        ]
        offline.run(
            box,
            f"cd /root && {know(nvidia, DIST)} && {NEWEST_DRIVER} ufw ethtool {' '.join(more)}\n"
            "mkdir -p /etc/systemd/timesyncd.conf.d\n"
            f"printf '[Time]\\nNTP={server}\\n' > /etc/systemd/timesyncd.conf.d/lab.conf",
        )
        known = f'mirror="{nvidia.url}", repo_key="{nvidia.fingerprint(DIST)}"'
        driver = f'driver=Driver(gpus=("{RTX_3090}",), branch="580", source="nvidia", {known})'
        today = variant(
            box,
            box.inventory.with_name("today.py"),
            ("import Notebook, Python, Rig,", "import Driver, Rig,"),
            ('notebook=Notebook(user="ai")', f"notebook=None, cuda=None, {driver}"),
            ('python=Python(python="system")', "python=None"),
        )
        plain = box.inventory.with_name("earlier.py")  # its planner has no day to be told
        plain.write_text(today.read_text().partition("\nimport datetime")[0])
        put_at_once(tree, shell(box))
        earlier.deploy(tree, plain)
        boxes.reboot(box.name)
        run = shell(box)
        run(f"sudo {TOP}/boot-trial confirm")  # what boots after a cut is this, and no older one
        assert run(f"sudo {TOP}/boot-trial state; sudo {TOP}/boot-trial due") == "ok\nsettled\n"
        there = earlier.left_of(tree, run(f"ls {TOP}"))
        assert {"boot-guard", "boot-trial", "driver-move", "access-guard"} <= there
        kept.keep(box)
        yield Old(box, tree, today)
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


def put_at_once(tree: Path, run: Run) -> None:
    """Its loose files: each is seconds here, of a deploy that finds them as it wants them."""
    place = tree / "files" / TOP.removeprefix("/")
    for file in place.iterdir():
        file.chmod(0o644 if file.suffix else 0o755)
    packed = subprocess.run(["tar", "-cz", "-C", place, "."], capture_output=True, check=True)
    run(
        f"sudo mkdir -p {TOP} && base64 -d | sudo tar -xz --no-same-owner -C {TOP}",
        stdin=base64.b64encode(packed.stdout).decode(),
    )


def cut_at(old: Old, run: Run, place: str, code: Path) -> None:
    """Deploy until the box is at that place, and have its power fail there."""
    code.write_text(PAUSED.format(place=PLACES[place]))
    with subprocess.Popen(
        [PYINFRA, "-y", str(old.inventory), str(code)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            here = f"test -e {HERE} && echo here"
            wait_for(lambda: run(here, check=False) != "", SECONDS_TO_GET_THERE, every=2)
            boxes.cut(old.box.name, off=True)
            said, _ = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode != 0 and "Traceback" not in said, said


def cut_before_they_go(old: Old) -> None:
    """All that calls them is changed by then, or about to be."""
    with subprocess.Popen(
        [PYINFRA, "-y", str(old.inventory), "deploy.py"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if f"Starting operation: {LEAVE}" in line:
                boxes.cut(old.box.name, off=True)
    assert process.returncode != 0 and LEAVE in said and "Traceback" not in said, said


def programs(old: Old, run: Run) -> tuple[bool, bool]:
    """Whether the earlier program is there, each file as it was; and today's, by its own name."""
    files = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (old.tree / "files/usr/local/lib/deeprig").iterdir()
    }
    listed = run(f"cd {TOP} && find . -maxdepth 1 -type f ! -name .lock -exec sha256sum {{}} +")
    there = {name.removeprefix("./"): sha for sha, name in map(str.split, listed.splitlines())}
    assert {name: files[name] for name in there} == there
    assert {"boot-guard", "boot_work.py", "boot-trial", "driver-move"} <= there.keys() or not there
    words = f"sudo sh -s stands {box_program.archive()[0]}"
    return bool(there), run(words, stdin=box_program.PUT) == "yes\n"


@pytest.mark.parametrize("place", [*PLACES, "before they go"])
def test_what_boots_after_a_power_cut_is_a_whole_program(
    place: str, old: Old, tmp_path: Path
) -> None:
    kept.go_back(old.box)
    run = shell(old.box)
    if place in PLACES:
        cut_at(old, run, place, tmp_path / "paused.py")
    else:
        cut_before_they_go(old)
    boxes.up(old.box.name)

    assert programs(old, run)[0]
    begun = dict(line.split(maxsplit=1) for line in run(UNITS).splitlines())
    assert {f"deeprig-boot-{name}.service" for name in ("back", "guard")} <= {*begun}, begun
    assert {*begun.values()} == {"success 0"}
    assert run("systemctl is-system-running", check=False).strip() == "running"

    done = deploy(old.inventory)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert programs(old, run) == (False, True)
    assert run(f"ls {TOP}").split() == [run(f"readlink {TOP}/current").strip(), "current"]
    assert run(f"sudo find {TOP} -maxdepth 1 -name '.*' ! -name .lock") == ""  # nothing unfinished
    assert run(earlier.who_names_them(old.tree)) == ""
    assert drivers.changes(deploy(old.inventory)) == []
    run(ASK_THE_TIME)
    verify(old.inventory, SECONDS_TO_VERIFY)
