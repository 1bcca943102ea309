"""One way to a box for every login: which port, through what, with which key."""

import ast
import base64
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.context import ctx_host, ctx_state
from pyinfra.facts.server import Hostname

from deeprig.errors import DeeprigError
from deeprig.settings import Rig, box
from deeprig.ssh import connection, known_hosts, probe
from deeprig.ssh.probe import Reachability
from tests.unit import ssh_server
from tests.unit.ssh_server import Server

ROOT = Path(__file__).parents[2]
# What a ProxyCommand is for: its input and output are the far end's.
FORWARD = """
import os, select, socket, sys
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for ready in select.select([0, far], [], [])[0]:
        said = os.read(0, 65536) if ready == 0 else far.recv(65536)
        if not said:
            sys.exit()
        far.sendall(said) if ready == 0 else os.write(1, said)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / "forward.py").write_text(FORWARD)
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with ssh_server.serve({"PATH": os.environ["PATH"]}) as running:
        known_hosts.pin(home / "pins", "gpu", running.port, running.host_key)
        yield running


def alias(home: Path, port: int | str = "%p") -> None:
    """A name that nothing resolves, behind a command that leads to this machine."""
    (home / ".ssh/config").write_text(
        f"Host gpu\n ProxyCommand {sys.executable} {home}/forward.py 127.0.0.1 {port}\n"
    )


def data(home: Path, port: int, **more: Any) -> dict[str, Any]:
    key = home / "key"
    if not key.exists():
        paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    usual = {"user": "me", "new_port": None, "key": key, "known_hosts": home / "pins"}
    return connection.data(hostname="gpu", port=port, **(usual | more))


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_login_goes_through_what_the_configuration_names(server: Server, home: Path) -> None:
    alias(home)
    with connection.connect(data(home, server.port)) as client:
        assert connection.door_of(client, {}) == server.port
    assert probe.probe(data(home, server.port)) is Reachability.OPEN


def test_the_pinned_key_is_asked_for_though_the_box_has_others(server: Server, home: Path) -> None:
    alias(home)
    rsa = paramiko.RSAKey.generate(2048)
    server.more_host_keys.append(rsa)
    known_hosts.forget(home / "pins", "gpu", server.port)
    known_hosts.pin(home / "pins", "gpu", server.port, rsa)
    made = data(home, server.port)
    with connection.connect(made) as client:
        transport = client.get_transport()
        assert transport and transport.get_remote_server_key() == rsa
    state = State(Inventory(([("rig1", made)], {})), Config())
    connect_all(state)
    assert [host.name for host in state.active_hosts] == ["rig1"]


@pytest.mark.parametrize("kind", ["ssh", "fast"])
def test_a_connector_of_pyinfras_goes_the_same_way(server: Server, home: Path, kind: str) -> None:
    alias(home)
    found = data(home, server.port) | {"fast_questions": str(home / "questions")}
    state = State(Inventory(([(connection.target("rig1", kind), found)], {})), Config())
    connect_all(state)
    assert [host.name for host in state.active_hosts] == ["rig1"]


def test_what_the_command_says_is_the_reason(server: Server, home: Path) -> None:
    (home / ".ssh/config").write_text("Host gpu\n ProxyCommand sh -c 'echo no such gate >&2'\n")
    with pytest.raises(DeeprigError, match=r"not reached through its ProxyCommand \(no such gate"):
        connection.connect(data(home, server.port))
    state = State(Inventory(([("rig1", data(home, server.port))], {})), Config())
    said: list[str] = []
    state.add_callback_handler(_Heard(said))
    with pytest.raises(Exception, match="hosts"):
        connect_all(state)
    assert "no such gate" in said[0]


class _Heard(BaseStateCallback):
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def host_connect_error(  # type: ignore[override]
        self, state: State, host: Any, error: Exception
    ) -> None:
        self.said.append(str(error))


def test_the_door_proved_last_is_dialled_whatever_the_setting_says(
    server: Server, home: Path, closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The port was moved from `closed` to the server's; then the line was taken out."""
    alias(home)
    known_hosts.pin(home / "pins", "gpu", closed, server.host_key)
    known_hosts.pin(home / "pins", "gpu", server.port, server.host_key, instead_of=closed)
    for new_port in (None, closed):
        found = data(home, closed, new_port=new_port)
        assert found["ssh_port"] == server.port
        connection.connect(found).close()
    said = capsys.readouterr().err
    assert f"gpu is dialled at port {server.port}: a login was proved there last" in said


def test_a_door_that_was_closed_since_does_not_count_for_ever(
    server: Server, home: Path, closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    alias(home)
    known_hosts.pin(home / "pins", "gpu", closed, server.host_key, instead_of=server.port)
    found = data(home, server.port, new_port=closed)
    assert found["ssh_port"] == closed
    with connection.connect(found) as client:
        assert connection.door_of(client, found) == server.port
    assert f"gpu is dialled at port {server.port}: port {closed} does" in capsys.readouterr().err


def test_each_door_that_does_not_answer_is_named(home: Path, closed: int) -> None:
    key = paramiko.ECDSAKey.generate()
    for port in (closed, 1):
        known_hosts.pin(home / "pins", "127.0.0.1", port, key)
    found = data(home, closed, new_port=1) | {"ssh_hostname": "127.0.0.1"}
    with pytest.raises(DeeprigError) as error:
        connection.connect(found)
    assert f"port {closed}" in str(error.value) and "port 1 " in str(error.value)


def test_a_door_that_is_asked_for_is_the_only_one(server: Server, home: Path, closed: int) -> None:
    alias(home)
    with pytest.raises(DeeprigError, match=f"gpu port {closed} is not reached"):
        connection.connect(data(home, server.port), port=closed)


def a_locked_key(home: Path) -> Path:
    key = home / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True
    )
    return key


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """An agent; what it gives is to add a key whose passphrase is `secret`."""
    path = home / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    ask = home / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)
    more = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    yield lambda key: (
        subprocess.run(["ssh-add", "-q", str(key)], env=os.environ | more, check=True), None
    )[1]  # fmt: skip
    process.terminate()
    process.wait()


def only(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server lets in who has this key."""
    right = key.with_name(f"{key.name}.pub").read_text().split()[1]
    monkeypatch.setattr(
        Server, "check_auth_publickey", lambda self, user, shown: 2 * (shown.get_base64() != right)
    )


def test_a_key_with_a_passphrase_is_the_agents(
    server: Server,
    home: Path,
    agent: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alias(home)
    key = a_locked_key(home)
    only(key, monkeypatch)
    found = data(home, server.port, key=key)
    assert "ssh_key" not in found  # pyinfra would ask for the passphrase
    with pytest.raises(DeeprigError, match=f"{key} has a passphrase and no agent holds it; run `s"):
        connection.connect(found)
    agent(key)
    key.with_name("locked.pub").rename(home / "elsewhere")  # it is not needed
    connection.connect(found).close()
    state = State(Inventory(([("@fast/rig1", found)], {})), Config())
    connect_all(state)
    assert state.active_hosts


def test_another_agent_is_asked_where_the_configuration_names_one(
    server: Server,
    home: Path,
    agent: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = a_locked_key(home)
    only(key, monkeypatch)
    agent(key)
    alias(home)
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(DeeprigError, match="there is no key here"):
        connection.connect(data(home, server.port, key=None))
    with (home / ".ssh/config").open("a") as file:
        file.write(f" IdentityAgent {home}/agent.sock\n")
    connection.connect(data(home, server.port, key=None)).close()


def test_a_key_that_is_not_the_right_one_is_told_so(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias(home)
    only(a_locked_key(home), monkeypatch)
    with pytest.raises(connection.NotLetIn, match="this key does not open it; run `deeprig boot"):
        connection.connect(data(home, server.port))


def test_a_key_that_is_right_and_not_enough_is_told_so(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias(home)
    monkeypatch.setattr(Server, "check_auth_publickey", lambda *_: 1)  # partially
    monkeypatch.setattr(Server, "get_allowed_auths", lambda *_: "keyboard-interactive")
    with pytest.raises(DeeprigError, match="this key is right, and it wants keyboard-interactive"):
        connection.connect(data(home, server.port))


def a_fido_key(file: Path) -> Path:
    """A file as `ssh-keygen -t ed25519-sk` writes it, of no real device."""

    def text(value: bytes) -> bytes:
        return struct.pack(">I", len(value)) + value

    kind, half, application = b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"
    public = text(kind) + text(half) + text(application)
    private = bytes(8) + public + b"\x01" + text(b"handle") + text(b"") + text(b"comment")
    private += bytes(range(1, 1 + -len(private) % 8))
    packed = b"openssh-key-v1\0" + text(b"none") * 2 + text(b"") + struct.pack(">I", 1)
    packed += text(public) + text(private)
    lines = base64.encodebytes(packed).decode()
    name = "OPENSSH PRIVATE KEY"
    file.write_text(f"-----BEGIN {name}-----\n{lines}-----END {name}-----\n")
    file.chmod(0o600)
    return file


def test_openssh_reads_the_fido_key_of_this_test_too(home: Path) -> None:
    """The control: it is one."""
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", a_fido_key(home / "id_sk")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "ED25519-SK" in said.stdout


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (
            "open",
            r"key can be read by others, and ssh takes no such key; run `chmod 600 .*key`, and if "
            r"that changes nothing copy it into ~/\.ssh first\.",
        ),
        ("fido", r"is a FIDO key, which paramiko, .* cannot use; name an ed25519 key"),
        ("public", r"key\.pub is the public half; name .*key with --key or box\(key=\)\."),
        ("nonsense", r"is no private key that can be used; name an ed25519 one\."),
    ],
)
def test_a_key_that_no_login_can_be_made_with_is_one_line(
    home: Path, what: str, sentence: str
) -> None:
    key = home / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    if what == "open":
        key.chmod(0o644)
    elif what == "fido":
        a_fido_key(key)
    elif what == "public":
        key = key.rename(home / "key.pub")
    else:
        key.write_text("nonsense\n")
        key.chmod(0o600)
    with pytest.raises(DeeprigError, match=sentence) as error:
        box("rig1", rig=Rig(), key=key)
    assert "\n" not in str(error.value)


def test_two_entries_of_one_box_are_known_as_such(home: Path) -> None:
    (home / ".ssh/config").write_text("Host gpu\n HostName 192.0.2.7\n")
    boxes = [
        box("gpu", rig=Rig()),
        box("same", hostname="192.0.2.7", rig=Rig()),
        box("other", hostname="192.0.2.7", port=2202, rig=Rig()),
    ]
    names = [(name.removeprefix(connection.FAST), one) for name, one in boxes]
    assert connection.twins(names) == [("gpu", "same")]


# Who may open a connection, and what it is there.
OPENS = {
    "deeprig/ssh/dial.py": "the one way to a box",
    "deeprig/ssh/connection.py": "the login on it",
    "deeprig/ssh/openssh.py": "the system's ssh, told where that way leads",
    "deeprig/ssh/ssh_config.py": "asks ssh what it reads; the owner's own ssh to a jump host",
    "deeprig_cli/tunnel/local_ports.py": "this machine's loopback",
    "deeprig_cli/power/magic_packet.py": "a broadcast, which is no login",
    "fast_ssh/sending.py": "makes the transport of a socket that it is given",
}
CALLS = re.compile(
    r"(^|\.)(create_connection|connect_ex|SSHClient|ProxyCommand|getaddrinfo)$"
    r"|^paramiko\.Transport$|^socket\.socket$"
)


def _openings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and CALLS.search(ast.unparse(node.func)):
            yield f"line {node.lineno}: {ast.unparse(node.func)}"
        first = node.elts[0] if isinstance(node, ast.List) and node.elts else None
        if isinstance(first, ast.Constant) and first.value in ("ssh", "scp", "sftp", "rsync"):
            yield f"line {node.lineno}: {first.value}"


def test_nothing_else_opens_a_connection() -> None:
    folders = ("deeprig", "deeprig_cli", "fast_ssh", "tasks", "tests/host")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    found = {str(file.relative_to(ROOT)): list(_openings(file)) for file in files}
    assert {name: lines for name, lines in found.items() if lines and name not in OPENS} == {}
    assert all(found[name] for name in OPENS if name != "fast_ssh/sending.py")


def test_a_folder_that_cannot_be_written_ends_no_run(
    server: Server, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the questions of the last run would be kept."""
    alias(home)
    (home / "taken").write_text("")
    found = data(home, server.port) | {"fast_questions": str(home / "taken/questions")}
    state = State(Inventory(([("@fast/rig1", found)], {})), Config())
    connect_all(state)
    [host] = state.active_hosts
    with ctx_state.use(state), ctx_host.use(host):
        assert host.get_fact(Hostname)
    disconnect_all(state)
    assert "taken/questions/rig1.json cannot be" in caplog.text
    assert "Traceback" not in caplog.text
