"""A year in a box: 52 weeks of updates, and what comes between, with work going on all the time.

Kernels, GRUB's menu, apt, unattended-upgrades and JupyterLab are real. Stand-ins: the archive of
security updates, NVIDIA's repository and its driver (the modules really build), grub-probe, and
for boots, which a container does not make, what GRUB's menu says. build/year.md has its log.
"""

import base64
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import boxes
from lab.stand_ins import nvidia_repository, server
from lab.stand_ins.apt_archive import Archive
from lab.stand_ins.catalogue import REMARK
from lab.stand_ins.deb import Package
from lab.stand_ins.nvidia_repository import Repository
from tasks import notebook
from tests.lab.conftest import DEEPRIG, ROOT, deploy, running, variant, wait_for
from tests.lab.drivers import RTX_3090
from tests.lab.guarded import (
    CLOUD,
    WHOLE,
    Run,
    archive_kernels,
    boots,
    install_kernel,
    shell,
    state,
)
from tests.lab.test_notebook import KERNEL

pytestmark = pytest.mark.lab

WEEKS = 52
FIRST, NEWER = "580.173.02", "580.178.04"
SERVED = f'until [ "$(sudo {notebook.SERVER} state)" = ok ]; do sleep 2; done'
TOOL, JOB, VALUE = "lab-tool", "sleep 31536000", "41"
DATA = "/mnt/data-disk"
ORIGIN = "deeprig lab security stand-in"
KNOW = """
set -e
echo {key} | base64 -d > /usr/share/keyrings/lab-security.gpg
printf '%s\\n' 'Types: deb' 'URIs: {url}' 'Suites: ./' \
    'Signed-By: /usr/share/keyrings/lab-security.gpg' > /etc/apt/sources.list.d/lab-security.sources
echo 'Unattended-Upgrade::Origins-Pattern {{ "origin={origin}"; }};' > /etc/apt/apt.conf.d/99lab
apt-get -q update && apt-get -qy install lab-tool
"""


@dataclass
class Security:
    """An archive of security updates, which patches one tool every week."""

    site: server.Site
    archive: Archive = field(
        default_factory=lambda: Archive("/updates", {"Origin": ORIGIN}, f"{ORIGIN} <lab@invalid>")
    )

    def offer(self, version: str, seconds: int = 0) -> None:
        """A patch, which takes dpkg as long as this to configure."""
        about = {"Package": TOOL, "Version": version, "Architecture": "all", "Maintainer": "lab",
                 "Description": REMARK.format(owner="anybody's")}  # fmt: skip
        script = f"#!/bin/sh\nsleep {seconds}\n"
        self.archive.add([Package(about, scripts={"postinst": script})])
        self.site.files = self.archive.files()

    def setup(self) -> str:
        key = base64.b64encode(self.archive.key.public).decode()
        return KNOW.format(key=key, url=f"{self.site.url}/updates/", origin=ORIGIN)


@dataclass
class Year:
    """The box, what is offered to it, and what is written down of each week."""

    box: boxes.Box
    nvidia: Repository
    security: Security
    kernels: list[str]
    inventory: Path
    version: int = 0
    settings: str = ""
    log: list[str] = field(default_factory=list)
    work: tuple[str, str] = ("", "")
    module: str = FIRST
    boots_next: str = ""

    @property
    def run(self) -> Run:
        return shell(self.box)

    def set_up(self) -> None:
        """What the installer leaves, and the deploy."""
        self.run("sudo apt-get -q update")
        install_kernel(self.run, self.kernels[0])
        self.run("sudo sh -s", stdin=self.security.setup())
        self.deploy()
        self.boots_next = boots(self.run)
        self.run(f"sudo -u ai sh -c 'echo mine > {DATA}/ai/notebooks/paper.txt'")
        self.begin_work()

    def deploy(self, settings: str = "") -> None:
        self.settings += settings
        rig = f"rig=Rig({self.driver()}, cuda=None, wake_on_lan=None,{self.settings}"
        imports = ("import Notebook,", "import Driver, Firewall, Notebook, Ssh,")
        file = variant(self.box, self.inventory, imports, ("rig=Rig(", rig))
        done = deploy(file)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    def driver(self) -> str:
        known = f'repo_key="{self.nvidia.fingerprint("debian13")}", mirror="{self.nvidia.url}"'
        return f'driver=Driver(gpus=("{RTX_3090}",), source="nvidia", {known})'

    def begin_work(self) -> None:
        """A job of `deeprig run` and a notebook's kernel that keeps a value."""
        done = subprocess.run(
            [DEEPRIG, "run", self.box.name, "--inventory", str(self.inventory),
             "--gpu", "none", f"week-{len(self.log)}", "--", JOB],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.run(f"timeout 300 sh -c '{SERVED}'")  # after a boot
        identity = self.kernel("new")
        self.kernel("run", identity, f"x = {VALUE}")
        self.work = (self.job(), identity)

    def kernel(self, *words: str) -> str:
        argv = ["sudo", "-u", "ai", "/opt/deeprig/notebook/bin/python", "-c", KERNEL, *words]
        return self.run(f"cd /; {shlex.join(argv)}").strip()

    def job(self) -> str:
        return self.run(f"pgrep -u ai -f '^{JOB}$'", check=False).strip()

    def update(self) -> None:
        """The week's security update, brought by the box's own units, as their timers start them.

        Without the stamps they would find that they were there today. After a boot the day's own
        may be at work.
        """
        self.version += 1
        self.security.offer(f"1.{self.version}")
        start = "systemctl start apt-daily.service apt-daily-upgrade.service"
        self.run(f"sudo sh -c 'rm -f /var/lib/apt/periodic/*stamp; {start}'")

    def look(self, what: str) -> None:
        """All that must be so in every week."""
        run, (job, kernel) = self.run, self.work
        said = run(
            f"dpkg-query -W -f '${{Version}}\n' {TOOL}; sudo cat {DATA}/ai/notebooks/paper.txt; "
            "dpkg --audit; dpkg-query -W -f '${Version}\n' nvidia-driver-cuda"
        ).split()
        assert said[:2] == [f"1.{self.version}", "mine"], f"week {len(self.log) + 1}: {said}"
        assert said[2].startswith(f"{self.module}-"), "the driver moved"
        next_boot = boots(run)
        module = run(f"sudo modinfo -k {next_boot} -F version nvidia").strip()
        assert next_boot == self.boots_next, f"not {self.boots_next}, {next_boot} boots next"
        assert module == self.module, f"{next_boot} boots next, with module {module}"
        assert self.job() == job != "", "the job was ended"
        assert self.kernel("run", kernel, "print(x + 1)") == "42", "the kernel was ended"
        self.log.append(
            f"| {len(self.log) + 1} | {what} | 1.{self.version} | {next_boot} | {module} | "
            f"{state(run)} |"
        )


def nothing(year: Year) -> None:
    year.update()


def newer_driver(year: Year) -> None:
    year.nvidia.offer(NEWER)
    year.update()


def kernel(number: int, *, builds: bool) -> Callable[[Year], None]:
    def comes(year: Year) -> None:
        name = year.kernels[number]
        packages = f"linux-image-{name} linux-headers-{name}"
        year.run(f"sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy install {packages}")
        if builds:
            year.boots_next = name
        year.update()

    return comes


def cut_in_an_update(year: Year) -> None:
    """The power goes while dpkg is at work; the box's own next update finishes it."""
    year.version += 1
    year.security.offer(f"1.{year.version}", seconds=10)
    year.run("sudo apt-get -q update; sudo systemd-run -q --no-block unattended-upgrade")
    wait_for(lambda: f"{TOOL}.postinst"[:15] in running(year.box), 120)
    boxes.cut(year.box.name)
    year.begin_work()
    year.update()


def cut(year: Year) -> None:
    boxes.cut(year.box.name)
    year.begin_work()
    year.update()


def other_settings(words: str) -> Callable[[Year], None]:
    def changed(year: Year) -> None:
        year.deploy(words)
        year.update()

    return changed


def reinstall(year: Year) -> None:
    """A fresh system disk, and the same deploy."""
    boxes.reinstall(year.box.name, bootstrap=True)
    year.security.offer(f"1.{year.version}")
    year.module = NEWER  # a box that has none gets the newest
    year.set_up()
    year.update()


EVENTS: dict[int, tuple[str, Callable[[Year], None]]] = {
    3: ("a newer driver is offered", newer_driver),
    6: ("a kernel comes", kernel(1, builds=True)),
    10: ("power cut in the middle of an update", cut_in_an_update),
    13: ("a kernel comes for which the driver does not build", kernel(2, builds=False)),
    17: ("a deploy opens a port", other_settings('firewall=Firewall(allow=("8080/tcp",)),')),
    20: ("power cut", cut),
    24: ("reinstalled", reinstall),
    32: ("a deploy moves SSH", other_settings("ssh=Ssh(port=2222),")),
    40: ("power cut in the middle of an update", cut_in_an_update),
}


@contextmanager
def _logged(year: Year) -> Iterator[None]:
    try:
        yield
    finally:
        place = ROOT / "build/year.md"
        place.parent.mkdir(exist_ok=True)
        head = "| week | what | patched to | boots next | with module | the guard says |\n|"
        place.write_text("\n".join([head + "---|" * 6, *year.log]) + "\n")


def test_a_year_of_updates_ends_no_work_loses_nothing_and_boots_nothing_without_its_driver(
    box: boxes.Box,
) -> None:
    with nvidia_repository.serve(["debian13"], []) as nvidia, server.serving() as site:
        # The deploy brings the newest of the first; GRUB takes each further one for newer still.
        run = shell(box)
        *older, _ = archive_kernels(run, box.os, WHOLE)
        newest = [archive_kernels(run, box.os, flavour)[-1] for flavour in (CLOUD, "rt-amd64")]
        kernels = [older[-1], *newest]
        nvidia.offer(FIRST, fails_for=kernels[2])
        security = Security(site)
        security.offer("1.0")
        year = Year(box, nvidia, security, kernels, box.inventory.with_name("year.py"))
        year.set_up()
        with _logged(year):
            for week in range(1, WEEKS + 1):
                what, happens = EVENTS.get(week, ("", nothing))
                happens(year)
                year.look(what)
    assert len(year.log) == WEEKS
