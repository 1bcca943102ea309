"""How the lane `trust` attacks a box: programs that run there as one of its accounts."""

import base64
import io
import json
import shlex
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import boxes
from tests.lab.conftest import ROOT, variant
from tests.lab.guarded import shell

PROGRAMS = Path(__file__).with_name("attacks")
OURS = ROOT / "box/deeprig_box"
# On the box: the programs are root's, as ours in lib/, and each account has a folder of its own.
PLACE = "/var/tmp/trust"
PYTHON = "python3 -I"
# What an attack has root write where it succeeds.
MARKER = "/TRUST_ROOT_RAN_IT"
ALIVE_SECONDS = 25
# Longer than the verb that is attacked; it is ended then.
LONG = "1500"
# Until a program on the box has written its next line.
SAID_SECONDS = 60

# Startup files of the work user, and what stands in them; {} runs a program.
SHELL, MODULE = "{}\n", "import os; os.system({!r})\n"
STARTUP = {
    "profile": ("$HOME/.profile", SHELL),
    "bashrc": ("$HOME/.bashrc", SHELL),
    "usercustomize": ("$SITE/usercustomize.py", MODULE),
    "pth": ("$SITE/trust.pth", MODULE),
    "environment": ("$ENV/trust.pth", MODULE),
    "ssh": ("$HOME/.ssh/rc", SHELL),
    "unit": ("$HOME/.config/systemd/user/default.target.wants/trust.service", "$UNIT"),
    "pip": ("$HOME/.config/pip/pip.conf", "[global]\nlog = /home/ai/pip-of-trust.log\n"),
}
UNIT = "[Service]\nType=forking\nExecStart={}\n"


Accounts = dict[str, "Account"]


class Account:
    """One of the box's accounts, in whose name programs run there."""

    def __init__(self, box: boxes.Box, name: str) -> None:
        self.name = name
        self._shell = shell(box)

    def run(self, script: str, *, check: bool = True, stdin: str = "") -> str:
        """What a shell script prints, run by `sh` in /, without a login."""
        words = ["sudo", "-u", self.name, "env", "-C", "/", "sh", "-c", script]
        return self._shell(shlex.join(words), check=check, stdin=stdin)

    @property
    def home(self) -> str:
        return self.run(f"getent passwd {self.name} | cut -d: -f6").strip()

    @property
    def uid(self) -> int:
        return int(self.run("id -u"))

    @property
    def folder(self) -> str:
        return f"{PLACE}/{self.name}"

    def write(self, path: str, content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        self.run(f"base64 -d >{shlex.quote(path)}", stdin=base64.b64encode(raw).decode())

    def read(self, name: str) -> str:
        """A file of the account's folder; empty where it is not there."""
        return self.run(f"cat {self.folder}/{name} 2>/dev/null", check=False)

    def log(self, name: str) -> list[dict[str, Any]]:
        """The lines that a program of ours wrote, each an object."""
        return [json.loads(line) for line in self.read(f"{name}.log").splitlines()]

    def begin_line(self, path: str, line: str) -> None:
        """Put a line before all others of a startup file, which it may make."""
        self.write(f"{self.folder}/line", line)
        quoted = shlex.quote(path)
        self.run(
            f"mkdir -p $(dirname {quoted}); touch {quoted}; cp -p {quoted} {quoted}.trust; "
            f"cat {self.folder}/line {quoted}.trust >{quoted}"
        )

    def forget(self) -> None:
        """Empty the account's folder."""
        self.run(f"find {self.folder} -mindepth 1 -delete")

    def start(self, program: str, *words: str) -> "Attack":
        """Run a program of attacks/ in the background; it has begun when this returns."""
        self.run(f"rm -f {self.folder}/{program}.log")
        command = f"{PYTHON} {PLACE}/{program}.py {self.folder} {shlex.join(words)}"
        errors = f"{self.folder}/{program}.errors"
        self.run(f"setsid -f {command} </dev/null >{errors} 2>&1")
        return Attack(self, program)


class Attack:
    """A program that runs on the box, and says in its log what it does."""

    def __init__(self, account: Account, program: str) -> None:
        self.account, self.program = account, program
        self.wait("pid")

    def said(self) -> dict[str, Any]:
        """All that its log says, later lines before earlier ones."""
        found: dict[str, Any] = {}
        for line in self.account.log(self.program):
            found |= line
        return found

    def wait(self, word: str, seconds: float = SAID_SECONDS) -> dict[str, Any]:
        """Until its log says this."""
        until = time.monotonic() + seconds
        while word not in (said := self.said()):
            errors = self.account.read(f"{self.program}.errors")
            assert time.monotonic() < until, f"{self.program} says no {word!r}: {said} {errors}"
            time.sleep(0.3)
        return said

    def end(self) -> dict[str, Any]:
        """End it, and what it said."""
        self.account.run(f"kill {int(self.said()['pid'])} 2>/dev/null", check=False)
        return self.wait("ended")


def prepare(box: boxes.Box, *names: str) -> Accounts:
    """The programs on the box, and these accounts, of which root is one; made where not there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(PROGRAMS.glob("*.py")):
            tar.add(file, file.name)
        tar.add(OURS, "lib/deeprig_box")
    root = Account(box, "root")
    root.run(f"mkdir -p {PLACE}; chmod 755 {PLACE}; cat >/dev/null")
    root.run(
        f"base64 -d | tar -x --no-same-owner -C {PLACE} && chmod -R a+rX {PLACE}/*.py {PLACE}/lib",
        stdin=base64.b64encode(packed.getvalue()).decode(),
    )
    for name in (*names, "root"):
        root.run(
            f"id {name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {name}; "
            f"install -d -m 700 -o {name} -g $(id -gn {name}) {PLACE}/{name}"
        )
    return {name: Account(box, name) for name in (*names, "root")}


@contextmanager
def instead(account: Account, path: str, make: str) -> Iterator[None]:
    """What is at a path is put aside, and `make` run to have something else there, for a while."""
    aside = f"{path}.trust-aside"
    quoted, kept = shlex.quote(path), shlex.quote(aside)
    account.run(f"[ ! -e {quoted} ] && [ ! -L {quoted} ] || mv -T {quoted} {kept}; {make}")
    try:
        yield
    finally:
        account.run(f"rm -rf {quoted}; [ ! -e {kept} ] && [ ! -L {kept} ] || mv -T {kept} {quoted}")


@contextmanager
def haunted(ai: Account) -> Iterator[None]:
    """For a while all startup files of the work user run the program that writes to everything.

    Those of an environment are there once a deploy has made one.
    """
    site = ai.run("python3 -c 'import site; print(site.getusersitepackages())'").strip()
    env = ai.run("ls -d ~/envs/base/lib/python*/site-packages 2>/dev/null", check=False).strip()
    put = []
    for where, (name, text) in STARTUP.items():
        if not env and "$ENV" in name:
            continue
        path = name.replace("$HOME", ai.home).replace("$SITE", site).replace("$ENV", env)
        command = f"{PYTHON} {PLACE}/inherits.py {ai.folder} {where} {ALIVE_SECONDS}"
        ai.begin_line(path, text.replace("$UNIT", UNIT).format(command))
        put.append(path)
    try:
        yield
    finally:
        ai.run(
            "; ".join(f"[ -s {p}.trust ] && mv {p}.trust {p} || rm -f {p} {p}.trust" for p in put)
        )
        ai.run(f"pkill -KILL -u {ai.name} -f 'trust/[i]nherits.py'", check=False)


@contextmanager
def endless(box: boxes.Box, root: Account, folder: Path, program: str) -> Iterator[Path]:
    """The inventory of a box that runs this whatever it is asked, by a key of its own."""
    key = folder / "endless"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    keys = "/home/deeprig/.ssh/authorized_keys"
    root.run(f"cp -p {keys} {root.folder}/keys && cat >>{keys}",
             stdin=f'restrict,command="{program}" {public}\n')  # fmt: skip
    try:
        yield variant(box, folder / "endless.py", (str(box.key), str(key)))
    finally:
        root.run(f"cat {root.folder}/keys >{keys}")
