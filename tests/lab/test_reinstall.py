"""A box reinstalled as docs/reinstall.md says: it is back, and its data are untouched."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeprig.ssh import known_hosts
from lab import boxes, guest
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT
from tests.lab.test_bootstrap import inside

pytestmark = pytest.mark.lab

NEW_UID = 1742
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
# What somebody worked on: small files, a name that scripts trip over, and 20 MB.
WORK = f"""
cd ~/notebooks && mkdir -p 'second try'
echo '{NOTEBOOK}' | tee train.ipynb >'second try/größer $HOME.ipynb'
cd ~/runs && echo 0.93 >accuracy && head -c 20000000 /dev/urandom >model.pt && chmod 600 model.pt
"""
# Somebody else's, beside it.
IMAGES = "mkdir -p /mnt/data-disk/images && echo cat >/mnt/data-disk/images/0001.txt"
EVERY_FILE = (
    "cd /mnt/data-disk; find . -path './*/cache' -prune -o -type f -print0 | sort -z | "
    'xargs -0 sh -c \'for f; do sha256sum "$f"; stat -c "%U:%G %a" "$f"; done\' sh'
)
LISTING = """
import json, pathlib, urllib.request
token = (pathlib.Path.home() / ".config/deeprig/notebook-token").read_text().strip()
url = "http://127.0.0.1:8888/api/contents"
asked = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
print(json.dumps(sorted(e["name"] for e in json.load(urllib.request.urlopen(asked))["content"])))
"""


class Walk:
    """The commands of docs/reinstall.md, for one box, and a client that pinned it before."""

    def __init__(self, box: boxes.Box, folder: Path) -> None:
        self.box, self.folder = box, folder
        self.inventory = folder / "inventory.py"
        self.inventory.write_text(box.inventory.read_text())

    def settings(self, ssh: str) -> None:
        """Other SSH settings in the inventory."""
        text = self.box.inventory.read_text()
        text = text.replace("import Notebook", "import Ssh, Notebook")
        self.inventory.write_text(text.replace("rig=Rig(\n", f"rig=Rig(\n            ssh={ssh},\n"))

    def deeprig(self, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DEEPRIG, *words], cwd=ROOT, input=password, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip

    def bootstrap(self, *options: str) -> subprocess.CompletedProcess[str]:
        words = ["bootstrap", self.box.name, "--inventory", str(self.inventory)]
        password = f"{self.box.password}\n"
        return self.deeprig(*words, "--password-stdin", *options, password=password)

    def deploy(self) -> str:
        """`pyinfra -y inventory.py deploy.py`, which must go through; what it printed."""
        done = subprocess.run(
            [PYINFRA, "-y", str(self.inventory), "deploy.py"],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    def deploy_again(self) -> None:
        """And it changes nothing."""
        said = self.deploy()
        [(every, changed, failed, same)] = re.findall(
            r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", said
        )
        assert (changed, failed, same) == ("-", "-", every), said

    def verify(self) -> dict[str, str]:
        """Outcome of each check; none may have failed."""
        done = self.deeprig("verify", "--inventory", str(self.inventory), "--json")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        wrong = [c for c in found if c["outcome"] not in ("passed", "skipped")]
        assert [f"{c['check']}: {c['reason']}" for c in wrong] == []
        assert done.returncode == 0, done.stderr
        return {check["check"]: check["outcome"] for check in found}

    def reinstall(self) -> None:
        """The disk wiped and a fresh system on it, by the verb."""
        done = self.deeprig("lab", "reinstall", self.box.name, "--json")
        assert done.returncode == 0, done.stderr
        assert inside(self.box, "id deeprig 2>&1 || true").endswith("no such user")

    def fingerprint(self) -> str:
        """What the box's own screen says."""
        return inside(self.box, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]

    def pin(self, *ports: int) -> None:
        """A client learns the box's key once, and from then on believes no other."""
        names = ",".join(known_hosts.label(self.box.host, port) for port in ports)
        keys = guest.host_keys(self.box.upper)
        (self.folder / "client").write_text("".join(f"{names} {key}\n" for key in keys))

    def client(self, command: str = "true", *, port: int = 22) -> subprocess.CompletedProcess[str]:
        """That client, as the work user."""
        return subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.box.key), "-p", str(port), "-oBatchMode=yes",
             "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={self.folder / 'client'}",
             f"ai@{self.box.host}", command],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def notebooks(self, *, port: int = 22) -> list[str]:
        """What JupyterLab's file list shows."""
        done = self.client(f"python3 -c '{LISTING}'", port=port)
        assert done.returncode == 0, done.stderr
        names: list[str] = json.loads(done.stdout)
        return names


@pytest.fixture(scope="module")
def walk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """A box in use, made from bare by the same commands, with work on its data disk."""
    name = "t-reinstall"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    box = boxes.up(name, os=str(request.config.getoption("--os")), bare=True)
    walk = Walk(box, tmp_path_factory.mktemp("client"))
    first = walk.bootstrap("--fingerprint", walk.fingerprint())
    assert first.returncode == 0, first.stderr
    walk.deploy()
    walk.pin(22)
    done = walk.client(WORK)
    assert done.returncode == 0, done.stderr
    inside(box, IMAGES)
    yield walk
    if not os.environ.get("KEEP"):
        boxes.down(name)


def test_a_reinstalled_box_is_back_with_its_data_by_two_commands(walk: Walk) -> None:
    before, shown = inside(walk.box, EVERY_FILE), walk.notebooks()
    assert len(before.splitlines()) >= 10 and "model.pt" in before  # the control: it is there
    assert shown == ["second try", "train.ipynb"]
    walk.reinstall()

    # Whoever pinned it before is warned, and deeprig pins nothing new unasked.
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in walk.client().stderr
    refused = walk.bootstrap()
    assert refused.returncode == 2
    assert f"shown:  {walk.fingerprint()}" in refused.stderr
    assert "run this again with --reinstalled" in refused.stderr

    done = walk.bootstrap("--reinstalled", "--fingerprint", walk.fingerprint())
    assert done.returncode == 0, done.stderr
    assert "No host keys of" in done.stderr and "are kept" in done.stderr
    walk.deploy()
    walk.verify()
    assert inside(walk.box, EVERY_FILE) == before
    walk.pin(22)
    assert walk.notebooks() == shown
    walk.deploy_again()


def test_with_kept_host_keys_no_client_sees_that_it_was_reinstalled(walk: Walk) -> None:
    key = walk.box.key.with_suffix(".pub").read_text().strip()
    walk.settings(f"Ssh(port=2222, keep_host_keys={key!r})")
    walk.deploy()
    walk.deploy_again()
    walk.pin(22, 2222)
    quiet = walk.client(port=2222)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    before, shown = inside(walk.box, EVERY_FILE), walk.notebooks(port=2222)
    walk.reinstall()
    inside(walk.box, f"groupmod -g {NEW_UID} ai; usermod -u {NEW_UID} ai")
    assert inside(walk.box, EVERY_FILE) != before  # the control: the files are a stranger's now

    done = walk.bootstrap("--reinstalled", "--fingerprint", walk.fingerprint())
    assert done.returncode == 0, done.stderr
    assert "host keys (those from before the reinstall are back)" in done.stdout
    quiet = walk.client()
    assert (quiet.returncode, quiet.stderr) == (0, "")
    walk.deploy()
    quiet = walk.client("id -u", port=2222)
    assert (quiet.stdout, quiet.stderr) == (f"{NEW_UID}\n", "")
    assert walk.verify()["the kept host keys are those of the box"] == "passed"
    assert inside(walk.box, EVERY_FILE) == before  # of the user `ai` again, by name
    assert walk.notebooks(port=2222) == shown
    write = "cd ~/notebooks && cp train.ipynb mine.ipynb && echo '{}' >train.ipynb && id -u"
    written = walk.client(write, port=2222)
    assert (written.returncode, written.stderr) == (0, "")
    walk.deploy_again()


def test_the_age_tool_opens_what_is_kept(walk: Walk) -> None:
    kept = walk.box.folder / f"kept_host_keys/{walk.box.host}.age"
    for name, file in {"kept.age": kept, "id": walk.box.key}.items():
        inside(walk.box, f"umask 077; base64 -d >/root/{name} <<'E'\n{b64(file)}\nE")
    inside(walk.box, "DEBIAN_FRONTEND=noninteractive apt-get -q -y install age >&2")
    said = inside(
        walk.box,
        "cd /root; mkdir out; age -d -i id kept.age | tar -C out -x; "
        "diff -r out /etc/ssh | grep -v '^Only in /etc/ssh: ' || ls out; rm -r out id kept.age",
    )
    assert said.splitlines() == [
        f"ssh_host_{kind}_key{half}"
        for kind in ("ecdsa", "ed25519", "rsa")
        for half in ("", ".pub")
    ]


def b64(file: Path) -> str:
    return base64.encodebytes(file.read_bytes()).decode().strip()
