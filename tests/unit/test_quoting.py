"""No value stands unquoted in a command, here or on a box; and what looks for one does find it."""

import pytest

from tests.unit.quoting import Project, project

FACTS = """
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase
class Shell(FactBase[str]):
    def command(self, script: str) -> StringCommand:
        return StringCommand(f"( {script} )")
class Link(FactBase[str]):
    def command(self, path: str) -> StringCommand:
        return StringCommand("readlink", QuoteString(path))
"""
OPERATIONS = """
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from deeprig.operations.facts import Shell
class StreamedCommand(StringCommand): ...
@operation()
def shell(commands: list[str], unless: str):
    host.get_fact(Shell, script=unless)
    for command in commands:
        yield StringCommand(command)
"""
ROOT_SHELL = """
def run(transport, command: str, *, stdin: str = ""):
    channel.exec_command(command)
"""
HEAD = """
import shlex, subprocess
from functools import partial
from deeprig import catalog
from deeprig.ssh import root_shell
from deeprig.ssh import openssh, ssh_config
from deeprig_cli.power import magic_packet
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from deeprig.operations import core as operations
from deeprig.operations.facts import Link, Shell
from deeprig.operations.footprint import Footprint
PROGRAM = "/usr/bin/program"
"""
UNQUOTED = {
    "a setting in a fact": 'host.get_fact(Shell, script=f"id {user.name}")',
    "an answer in the next question": 'a = host.get_fact(Shell, script="x")\n'
    '    host.get_fact(Shell, script=f"cat /proc/{a}/cmdline")',
    "a part of an answer": 'for a in host.get_fact(Shell, script="x").splitlines():\n'
    '        host.get_fact(Shell, script="rm " + a)',
    "a condition": 'operations.shell(unless=f"test -e {card.name}", commands=["true"])',
    "one of several commands": 'operations.shell(unless="x", commands=[f"rm {card.name}"])',
    "a word of a command": 'StringCommand("rm", card.name)',
    "a command that is shown": 'operations.StreamedCommand("rm", "-r", card.name)',
    "in a list that is joined": 'StringCommand(" ".join(["rm", *card.names]))',
    "by a format": 'StringCommand("rm {}".format(card.name))',
    "by a per cent sign": 'StringCommand("rm %s" % card.name)',
    "one of two": 'StringCommand(f"rm {card.name if card else PROGRAM}")',
    "over the link": 'root_shell.run(link, f"arm {card.name}")',
    "on a shell's stdin": 'root_shell.run(link, "sudo -n sh -s", stdin=f"arm {card.name}")',
    "as root": "root_shell.run_as_root(login, script=card.name)",
    "to paramiko": 'client.exec_command(f"arm {card.name}")',
    "by ssh": 'openssh.command(name, data, (), f"sh -s {box.mac}")',
    "by somebody's ssh": 'ssh_config.users_own_ssh(host, f"sh -s {box.mac}")',
    "by a function that is given": 'ssh(f"sh -s {box.mac}")',
    "here, with a shell": 'subprocess.run(f"rm {box.file}", shell=True)',
    "here, for a shell": 'subprocess.run(["sh", "-c", f"rm {box.file}"])',
    "quoted as a word, and run": 'StringCommand("sh -c", QuoteString(f"rm {box.file}"))',
    "quoted as a word, in a text": 'StringCommand(f"sh -c {shlex.quote(box.script)}")',
    "between quotes": "StringCommand(f\"echo '{card.name}'\")",
    "quoted between quotes": "StringCommand(f\"echo '{shlex.quote(card.name)}'\")",
    "in what is taken out": 'Footprint(before=(f"rm {card.name}",))',
    "by a name of its own": 'way = f"rm {card.name}"\n    StringCommand(way)',
    "by a table of ways": 'ways = {"b": f"rm {card.name}"}\n    StringCommand(ways[x])',
    "by a function within": 'def w():\n        return "rm " + card.name\n    StringCommand(w())',
    "by a method of a class": 'StringCommand(Way(card).removal())',
    "by a function's answer": "StringCommand(removal(card.name))",
    "by a function's parameter": "take_out(card.name)",
    "by that of one further on": "take_out_too(what=card.name)",
    "by words that are joined": 'all_of("a", card.name)',
    "later": "partial(take_out, card.name)",
    "with a number of words": 'StringCommand(f"head -n {card.lines}")',
}  # fmt: skip
QUOTED = {
    "quoted": 'StringCommand(f"rm {shlex.quote(card.name)}")',
    "joined": "StringCommand(shlex.join(card.names))",
    "each": 'StringCommand("rm", *map(QuoteString, card.names))',
    "by pyinfra": 'StringCommand("rm", QuoteString(card.name))',
    "by the fact": "host.get_fact(Link, path=card.name)",
    "a constant": 'StringCommand(f"{PROGRAM} --check {openssh.LOOPBACK}")',
    "a number": 'StringCommand(f"head -n {card.lines:d} {int(card.bytes)}")',
    "our own tables": 'StringCommand(" ".join(catalog.load("packages")["disks"]))',
    "quoted for the shell within": 'way = shlex.quote(f"rm {shlex.quote(card.name)}")\n'
    '    StringCommand(f"sh -c {way}")',
    "quoted by a function": "StringCommand(removal(shlex.quote(card.name)))",
    "quoted by its caller": "take_out(shlex.quote(card.name))",
    "words of a program": 'subprocess.run(["rm", "--", card.name])',
    "what is no command": 'operations.say(host, f"{card.name} is gone")',
}
AROUND = """
class Way:
    def __init__(self, card): self.card = card
    def removal(self) -> str: return f"rm {self.card.name}"
def removal(what: str) -> str:
    return f"rm -r {what}"
@operation()
def take_out(what: str):
    yield StringCommand(removal(what))
def take_out_too(*, what: str):
    take_out(what)
def all_of(*words: str):
    StringCommand(" ".join(words))
def it(host, card, user, box, link, login, client, name, x, ssh):
    BODY
"""
CHECKS = {
    "tests/host/test_a.py": 'def test_a(host, notebook):\n    host.run(f"id {notebook.user}")',
    "tests/host/test_b.py": "def test_b(host):\n    pid = host.check_output('pgrep x')\n"
    "    host.check_output(f'cat /proc/{pid}/cmdline')",
    "tests/host/test_c.py": "@pytest.fixture\ndef own(storage):\n    return f'{storage.folder}/x'\n"
    "def test_c(host, own):\n    host.run('ls ' + own)",
    "tests/host/test_d.py": "def test_d(host, box):\n    host.run('sh -c %s', f'ls {box.folder}')",
    "tests/host/test_e.py": "def test_e(host, box):\n    host.run(\"bash -c 'ls %s'\", box.folder)",
    "tests/host/test_f.py": "def of(host, command):\n    return host.check_output(command)\n"
    "def test_f(host, box):\n    of(host, f'ls {box.folder}')",
}
FINE = {
    "tests/host/test_a.py": "def test_a(host, notebook):\n    host.run('id %s', notebook.user)",
    "tests/host/test_b.py": "@pytest.mark.parametrize('name', ['a', 'b'])\n"
    "def test_b(host, name):\n    host.run(f'id {name}')",
    "tests/host/test_c.py": "def test_c(host, box):\n    host.run('sh -c %s sh %s', 'ls', box.x)",
}


def found(sources: dict[str, str]) -> set[str]:
    known = {
        "deeprig/operations/facts.py": FACTS,
        "deeprig/operations/core.py": OPERATIONS,
        "deeprig/operations/footprint.py": "class Footprint: ...",
        "deeprig/ssh/root_shell.py": ROOT_SHELL + "def run_as_root(login, script): ...",
        "deeprig/ssh/openssh.py": "def command(name, data, forwards, remote): ...",
        "deeprig/ssh/ssh_config.py": "def users_own_ssh(host, command): ...",
        "deeprig/catalog/__init__.py": "def load(name): ...",
    }
    return Project(known | sources).look()


@pytest.mark.parametrize("body", UNQUOTED.values(), ids=UNQUOTED)
def test_what_is_unquoted_is_found(body: str) -> None:
    said = found({"tasks/example.py": HEAD + AROUND.replace("BODY", body)})
    assert len(said) == 1, said
    assert "tasks/example.py line" in said.pop()


@pytest.mark.parametrize("body", QUOTED.values(), ids=QUOTED)
def test_what_is_quoted_is_fine(body: str) -> None:
    assert found({"tasks/example.py": HEAD + AROUND.replace("BODY", body)}) == set()


@pytest.mark.parametrize("file", CHECKS)
def test_what_is_unquoted_in_a_check_is_found(file: str) -> None:
    assert len(found({file: CHECKS[file]})) >= 1


@pytest.mark.parametrize("file", FINE)
def test_what_a_check_has_quoted_is_fine(file: str) -> None:
    assert found({file: FINE[file]}) == set()


def test_nothing_here_is_unquoted() -> None:
    whole = project()
    assert whole.look() == set()
    # The control: it sees the places where commands are made, and what leads there.
    sinks = {f"{f.module.name}.{f.name}": f.sinks for f in whole.every() if f.sinks}
    assert sinks["deeprig.operations.facts.Shell.command"] == {"script"}
    assert sinks["deeprig.operations.core.shell"] == {"unless", "commands"}
    assert sinks["deeprig.ssh.root_shell.run"] >= {"command"}
    assert sinks["deeprig.ssh.as_user.script"] >= {"text"}
