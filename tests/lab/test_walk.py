"""README and docs word by word: a clean clone, a box as the installer leaves it, each command.

In a mount namespace the box answers to `rig1.lan`, and ~/.ssh is empty. What the editor puts into
rigs.py is what a user behind a company's proxy puts there: the system's Python, the CA to trust.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import boxes, inventory_file
from tests.lab.conftest import ROOT
from tests.lab.sitting import Sitting

pytestmark = pytest.mark.lab

NAME = "t-walk"
README = (
    "make demo",
    "make env",
    ".venv/bin/deeprig init YOU@rig1.lan",
    "$EDITOR rigs.py",
    ".venv/bin/deeprig plan",
    ".venv/bin/pyinfra inventory.py deploy.py",
    ".venv/bin/deeprig verify",
    ".venv/bin/deeprig tunnel",
)
DOCS = (
    "cat /etc/ssh/ssh_host_*.pub | ssh-keygen -lf -",
    "deeprig bootstrap rig1.lan",
    "deeprig plan",
    "deeprig plan --limit rig1.lan --json",
    "deeprig plan --exit-code",
    'deeprig plan --gpu "RTX 3090" --gpu 10de:1b06 --os ubuntu-24.04',
    "pyinfra inventory.py deploy.py --data timeline=yes",
    "deeprig verify",
    "deeprig verify --limit rig1.lan --json",
    "deeprig verify --all",
    "deeprig verify --watch 300",
    "deeprig verify --evidence seen.json",
    "deeprig tunnel",
    "deeprig tunnel rig1.lan",
    "deeprig tunnel rig1.lan --print-ssh-config >> ~/.ssh/config",
    "deeprig run rig1.lan train -- python train.py --lr 0.1",
    "deeprig run rig1.lan prep -- 'cd data && sh fetch.sh'",
    "deeprig run rig1.lan night -- experiment.ipynb",
    "deeprig run --list",
    "deeprig run rig1.lan --follow train",
    "deeprig run rig1.lan --stop train",
    "ssh YOU@rig1.lan lsblk -o NAME,SIZE,SERIAL,UUID,MOUNTPOINT",
    "deeprig off rig1.lan",
    "deeprig lab up rig1",
    "deeprig lab list",
    "deeprig lab ssh rig1 [COMMAND]",
    "deeprig lab reboot rig1",
    "deeprig lab cut rig1 [--off]",
    "deeprig lab reinstall rig1",
    "deeprig lab console rig1 [-f]",
    "deeprig lab down rig1",
    # How it all goes again, by hand, on a box that has the parts.
    "sudo rm /etc/ssh/sshd_config.d/10-deeprig.conf && sudo systemctl reload ssh",
    "sudo systemctl disable deeprig-access-boot.service",
    "sudo rm /etc/systemd/system/deeprig-access-*",
    "sudo rm /etc/sudoers.d/50-deeprig; sudo loginctl terminate-user deeprig; sleep 5; "
    "sudo deluser --remove-home deeprig",
)
NOWHERE = ("no Ubuntu archive here", "no card here", "no conda here", "no rsync here")
ELSEWHERE = {
    "deeprig bootstrap 192.168.1.50": "bootstrap",
    "deeprig bootstrap ubuntu@203.0.113.7": "bootstrap",
    "deeprig bootstrap rig1.lan --fingerprint SHA256:... --password-stdin --json < password-file":
        "bootstrap",
    "deeprig bootstrap gpu": "jump",
    "deeprig init YOU@192.168.1.50": "init",
    "uv tool install ./dist/deeprig-*.whl": "installed",
    "deeprig init YOU@rig1.lan": "installed",
    "deeprig deploy": "installed",
    "deeprig init ubuntu@203.0.113.7 --name cloud1 --work-user anna --frameworks torch --no-docker "
    "--yes": "init",
    ".venv/bin/deeprig bootstrap rig1.lan --user YOU --reinstalled": "reinstall",
    "age -d -i ~/.ssh/id_ed25519 kept_host_keys/rig1.lan.age | tar -tv": "reinstall",
    "rsync -a YOU@rig1.lan:thesis/ thesis/": "no rsync here",
    ".venv/bin/python tools/gpu_evidence.py --out gpu.json": "gpu-evidence",
    "deeprig wake rig1.lan": "wake",
    "deeprig wake rig1.lan --via lamp": "wake",
    "deeprig tunnel rig1.lan --print-ssh-config | sed '/Forward/d; s/User deeprig/User ai/' >> "
    "~/.ssh/config": "vscode",
    "deeprig lab up rig2 --os ubuntu-24.04 --bare": "no Ubuntu archive here",
    "deeprig lab up rig3 --kind vm [--os ...] [--memory MIB] [--cpus N] [--disk SIZE]... "
    "[--nic CARD]": "vm-hardware",
    "sudo /usr/local/lib/deeprig/current/deeprig-box boot-guard state": "boot-guard",
    "sudo docker run --rm --device nvidia.com/gpu=all IMAGE nvidia-smi": "no card here",
    "conda activate vision": "no conda here",
    "python -m ipykernel install --user --name vision": "conda",
    "ssh deeprig@rig1.lan sudo virsh domifaddr guest": "passthrough",
    "ssh -J deeprig@rig1.lan ai@192.168.122.57": "passthrough",
    "ssh -t deeprig@rig1.lan sudo virsh console guest": "passthrough",
    "sudo virsh undefine --nvram guest": "passthrough",
    "sudo rm /var/lib/libvirt/images/guest.qcow2 /var/lib/libvirt/images/guest-seed.iso":
        "passthrough",
    "sudo apt purge libvirt-clients libvirt-daemon-system ovmf qemu-system-x86 qemu-utils":
        "passthrough",
    **{line: "boot-trial" for line in (
        "sudo /usr/local/lib/deeprig/current/deeprig-box boot-trial state",
        "sudo systemctl disable --now deeprig-boot-trial.timer deeprig-boot-back.service",
        "sudo rm /etc/grub.d/04_deeprig-trial /etc/update-motd.d/61-deeprig-trial "
        "/boot/grub/deeprig-last.cfg",
        "sudo rm /etc/systemd/system/deeprig-boot-trial.* "
        "/etc/systemd/system/deeprig-boot-back.service",
        "sudo rm /etc/default/grub.d/50-deeprig-headless.cfg "
        "/etc/default/grub.d/60-deeprig-parameters.cfg",
        "sudo grub-editenv /boot/grub/grubenv unset deeprig_trial",
        "sudo rm -r /var/lib/deeprig/last-boot /var/lib/deeprig/boot-trial.json "
        "/var/lib/deeprig/boot-trial.motd",
        "sudo update-grub",
    )},
}  # fmt: skip
# What goes on until somebody presses Ctrl-C, and what it says when all is there.
ENDLESS = {
    "deeprig tunnel": "JupyterLab",
    "deeprig tunnel rig1.lan": "JupyterLab",
    "deeprig verify --watch 300": " passed",
    "deeprig run rig1.lan --follow train": "at 0.1",
}
SECONDS = 900
# By the keys that deeprig pinned.
LOGIN = "ssh -o BatchMode=yes -o UserKnownHostsFile=known_hosts"
EDITOR = """#!/usr/bin/env python3
import sys
text = open(sys.argv[1]).read()
for old, new in (
    ("# python=Python(frameworks=('torch',))".replace("'", '"'), "python=Python(python='system')"),
    ("rig=Rig(", "rig=Rig(\\n            ca_certificates=CERTIFICATES,"),
):
    assert text.count(old) == 1, text
    text = text.replace(old, new)
open(sys.argv[1], "w").write(text)
"""


class Person:
    """Who has the clone, a home, and a name server that knows the box."""

    def __init__(self, folder: Path, box: boxes.Box) -> None:
        self.box, self.clone, self.ssh = box, folder / "deeprig", folder / "ssh"
        self.ssh.mkdir(mode=0o700)
        (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)
        self.hosts = folder / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost\n{box.host} rig1.lan\n")
        editor = folder / "editor"
        certificates = sorted(map(str, inventory_file.CERTIFICATES.glob("*.crt")))
        editor.write_text(EDITOR.replace("CERTIFICATES", repr(certificates)))
        editor.chmod(0o755)
        self.environment = os.environ | {
            "EDITOR": str(editor), "TERM": "dumb",
            "PATH": f"{self.clone}/.venv/bin:{os.environ['PATH']}",
        }  # fmt: skip
        subprocess.run(["git", "clone", "-q", ROOT, self.clone], check=True)

    def typed(self, line: str) -> list[str]:
        """The command, where rig1.lan is the box."""
        line = re.sub(r"\b(YOU|you)@", "ai@", line)
        if " lab " in line or line.startswith("make"):  # these mount what everybody has to see
            return ["bash", "-c", line]
        mounts = f"mount --bind {self.hosts} /etc/hosts && mount --bind {self.ssh} ~/.ssh"
        return ["unshare", "--mount", "bash", "-c", f"{mounts} && eval {shlex.quote(line)}"]

    def runs(self, line: str) -> str:
        """What it printed. An AssertionError where it fails."""
        done = subprocess.run(
            self.typed(line), cwd=self.clone, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        print(f"$ {line}\n{done.stdout}")  # the transcript
        assert done.returncode == 0, f"{line}: exit {done.returncode}"
        assert "Traceback" not in done.stdout
        return done.stdout

    def looks_at(self, line: str, until: str) -> None:
        """Runs it until it says this, and presses Ctrl-C."""
        with subprocess.Popen(
            ["env", "--default-signal=INT", *self.typed(line)],
            cwd=self.clone, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout
            said = ""
            for text in process.stdout:
                said += text
                if until in text:
                    os.killpg(process.pid, signal.SIGINT)
                    until = "\0"
        assert until == "\0", f"{line}: exit {process.returncode}\n{said[-3000:]}"
        assert "Traceback" not in said

    def on_the_box(self, line: str) -> str:
        """A command for the box's own shell."""
        return self.runs(f"{LOGIN} deeprig@rig1.lan {shlex.quote(line)}")

    def on_the_box_by_password(self, line: str) -> str:
        """The same as the installer's user, whose sudo asks."""
        asked = line.replace("sudo ", "sudo -S ")
        login = f"{LOGIN} ai@rig1.lan {shlex.quote(asked)}"
        each = f"{self.box.password}\\n" * asked.count("sudo -S")  # there is no terminal
        return self.runs(f"printf '{each}' | {login}")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    if NAME in [old.name for old in boxes.every()]:
        boxes.down(NAME)
    box = boxes.up(NAME, bare=True)
    yield Person(tmp_path_factory.mktemp("walk"), box)
    if not os.environ.get("KEEP"):
        boxes.down(NAME)


@pytest.mark.parametrize("line", README)
def test_the_readme_word_by_word(person: Person, line: str) -> None:
    if " init " in line:
        sits_down(person, line)
    elif line == ".venv/bin/pyinfra inventory.py deploy.py":
        person.runs(f"echo | {line}")  # Enter, as the document says
    elif " tunnel" in line:
        person.looks_at(line, "TensorBoard")
    else:
        person.runs(line)


def sits_down(person: Person, line: str) -> None:
    sitting = Sitting(person.clone, "env", *settings(person), *person.typed(line))
    sitting.answer("Make it now, an ed25519 key", "y")
    sitting.answer("Is it?", "y")
    sitting.answer("Password of ai", person.box.password)
    sitting.answer("Who computes there", "")
    sitting.answer("Frameworks", "none")
    sitting.answer("Docker", "")
    code, said = sitting.end()
    assert code == 0, said


def settings(person: Person) -> list[str]:
    return [f"{name}={person.environment[name]}" for name in ("PATH", "TERM")]


@pytest.mark.parametrize("line", DOCS)
def test_the_docs_word_by_word(person: Person, line: str) -> None:
    prepare(person, line)
    plain = re.sub(r" \[(COMMAND)?[-a-z]*\]", lambda m: " uptime" if m[1] else "", line)
    if line in ENDLESS:
        person.looks_at(plain, ENDLESS[line])
    elif line.startswith("pyinfra"):
        person.runs(f"echo | {plain}")
    elif "deluser" in line:
        person.on_the_box_by_password(plain)
    elif line.startswith(("sudo", "cat")):
        person.on_the_box(plain)
    else:
        person.runs(plain)


def prepare(person: Person, line: str) -> None:
    """What the page takes for granted."""
    if " train -- " in line:
        script = "import sys, time; print('at', sys.argv[2], flush=True); time.sleep(600)"
        ours = "sudo -u ai tee /home/ai/train.py"
        person.on_the_box(f"echo {shlex.quote(script)} | {ours}")
        person.on_the_box("sudo -u ai mkdir -p /home/ai/data")
        person.on_the_box("echo true | sudo -u ai tee /home/ai/data/fetch.sh")
    if "experiment.ipynb" in line:
        cell = '{"cell_type": "code", "metadata": {}, "outputs": [], "source": "1 + 1", '
        (person.clone / "experiment.ipynb").write_text(
            f'{{"cells": [{cell}"execution_count": null}}], "metadata": {{}}, "nbformat": 4, '
            '"nbformat_minor": 4}'
        )
    if line.startswith("sudo rm /etc/ssh") and not boxes.get(NAME).running:
        boxes.up(NAME)  # `deeprig off` came before
