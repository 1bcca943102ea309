"""A kept shell on this machine instead of a box, and a stand-in for sudo: no root is needed."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from fast_ssh import shell
from fast_ssh.shell import Shell
from fast_ssh.wire import Wire

PASSWORD = "s3cr3t pa$$ `id`"
# Takes the options that the connector gives; each use of it is a line in $SUDO_LOG. SUDO_MODE:
# free, password, deny, ahead (it reads more than it passes on, as one does that logs its input).
SUDO = """#!/bin/sh
echo "$*" >> "$SUDO_LOG"
while :; do
  case $1 in -n) n=1; shift;; -H|-k|-S) shift;; -p) shift 2;; *) break;; esac
done
case $SUDO_MODE in
  deny) echo "sudo: may not" >&2; exit 1;;
  password)
    [ -z "$n" ] || { echo "sudo: a password is required" >&2; exit 1; }
    IFS= read -r given; [ "$given" = "$SUDO_PASSWORD" ] || { echo "sudo: no" >&2; exit 1; };;
  ahead) cat | AS_ROOT=yes "$@"; exit;;
esac
export AS_ROOT=yes
exec "$@"
"""


def environment(folder: Path, mode: str = "free") -> dict[str, str]:
    """Where `sudo` is the stand-in."""
    sudo = folder / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    return os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SUDO_MODE": mode,
        "SUDO_PASSWORD": PASSWORD,
        "SUDO_LOG": str(folder / "sudo.log"),
    }


class Pipes:
    """The channel: the pipes of a process."""

    def __init__(self, command: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", command], bufsize=0, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def sendall(self, s: bytes) -> None:
        assert self.process.stdin
        if self.process.stdin.closed:
            raise OSError("it is closed")
        view = memoryview(s)
        while view:
            view = view[self.process.stdin.write(view) :]

    def recv(self, nbytes: int) -> bytes:
        assert self.process.stdout
        return os.read(self.process.stdout.fileno(), nbytes)

    def recv_stderr(self, nbytes: int) -> bytes:
        assert self.process.stderr
        return os.read(self.process.stderr.fileno(), nbytes)

    def close(self) -> None:
        """As a link that ends: its input is over, and what it has left it takes away."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(env: dict[str, str], password: str | None = None) -> Shell:
    wire = Wire(None)  # type: ignore[arg-type]  # the channel is made with the wire's word
    wire.channel = Pipes(shell.command(wire.word), env)
    wire.listen()
    return Shell(wire, password=password)


Make = Callable[..., Shell]


def maker(folder: Path) -> Iterator[Make]:
    """Makes shells, and takes them down at the end."""
    made: list[Shell] = []

    def make(mode: str = "free", password: str | None = None) -> Shell:
        made.append(start(environment(folder, mode), password))
        return made[-1]

    yield make
    for one in made:
        one.close()
