"""Local ports, links, and what the system's ssh is told."""

import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deeprig.errors import DeeprigError
from deeprig.settings import Notebook
from deeprig.ssh import connection, openssh
from deeprig.ssh.openssh import Forward
from deeprig_cli.tunnel import local_ports
from deeprig_cli.tunnel.process import MARK, OWNERS, TOKEN, SshProcess, _ask
from deeprig_cli.tunnel.report import page, to_json, urls

HASH = "argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"
FORWARDS = [Forward(8889, 8888), Forward(6006, 6006)]
ROOT = Path(__file__).parents[2]
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIA" + "A" * 42


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def data(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    usual = {
        "hostname": "rig1.lan",
        "user": "deeprig",
        "port": 22,
        "new_port": None,
        "key": tmp_path / "id",
        "known_hosts": tmp_path / "pins",
    }
    return connection.data(**(usual | changes))


def as_ssh_reads_it(tmp_path: Path, block: str, name: str = "rig1.lan") -> list[str]:
    """What the real ssh makes of a block."""
    (tmp_path / "config").write_text(block)
    done = subprocess.run(
        ["ssh", "-G", "-F", str(tmp_path / "config"), name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_free_port_is_taken_as_it_is(taken: int) -> None:
    free = taken + 1
    assert local_ports.choose([free]) == [free]


def test_a_taken_port_gives_the_next_free_one(taken: int) -> None:
    [chosen] = local_ports.choose([taken])
    assert chosen > taken
    assert local_ports.choose([chosen]) == [chosen]


def test_no_port_is_given_twice(taken: int) -> None:
    first, second = local_ports.choose([taken, taken])
    assert first != second


def test_a_port_where_nobody_listens_does_not_answer(taken: int) -> None:
    assert not local_ports.answers(local_ports.choose([taken])[0], "/api")


def test_a_server_that_has_no_such_page_does_not_answer(tmp_path: Path) -> None:
    """As a JupyterLab whose base_url somebody moved."""
    (tmp_path / "api").touch()
    page = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        said = [local_ports.answers(port, path) for path in ("/api", "/jup/api")]
        server.shutdown()
    assert said == [True, False]


def test_the_links_are_of_this_machines_ports_and_jupyters_has_the_token() -> None:
    links = urls(Notebook(), FORWARDS, "abc")
    assert links == ["http://127.0.0.1:8889/lab?token=abc", "http://127.0.0.1:6006/"]
    assert page("rig1", links, asks=False).splitlines() == [
        "rig1 is open here until Ctrl-C:",
        "  JupyterLab   http://127.0.0.1:8889/lab?token=abc",
        "  TensorBoard  http://127.0.0.1:6006/",
    ]


def test_with_a_password_no_token_is_in_the_link_and_the_page_says_so() -> None:
    links = urls(Notebook(password_hash=HASH), FORWARDS, "abc")
    assert links[0] == "http://127.0.0.1:8889/lab"
    assert "/lab  (asks for the password)" in page("rig1", links, asks=True)


def test_the_object_for_programs_has_both_ports() -> None:
    links = urls(Notebook(), FORWARDS, "abc")
    assert to_json("rig1", links, FORWARDS) == {
        "host": "rig1",
        "jupyterlab": {"url": links[0], "port": 8889, "box_port": 8888},
        "tensorboard": {"url": links[1], "port": 6006, "box_port": 6006},
    }


def test_ssh_reads_the_block_as_it_is_meant(tmp_path: Path) -> None:
    odd = tmp_path / "with space" / "100% pins"
    block = openssh.config_block("rig1.lan", data(tmp_path, known_hosts=odd), FORWARDS)
    read = as_ssh_reads_it(tmp_path, block)
    assert {
        "hostname rig1.lan",
        "port 22",
        "user deeprig",
        f"identityfile {tmp_path}/id",
        "identitiesonly yes",
        "stricthostkeychecking true",
        "globalknownhostsfile /dev/null",
        "localforward [127.0.0.1]:8889 [127.0.0.1]:8888",
        "localforward [127.0.0.1]:6006 [127.0.0.1]:6006",
        "exitonforwardfailure yes",
        "serveraliveinterval 5",
        "serveralivecountmax 2",
    } <= set(read)
    # With a space in its name it is printed with the percent sign that stands for itself doubled.
    assert (
        next(line for line in read if line.startswith("userknownhostsfile")).replace("%%", "%")
        == f"userknownhostsfile {odd}"
    )


@pytest.mark.parametrize("pins", ["pins", "with space/100% pins"])
@pytest.mark.parametrize(
    ("port", "config", "said"),
    [
        (22, "", {"hostname rig1.lan", "port 22"}),
        (2222, "", {"hostname rig1.lan", "port 2222"}),
        # A name of the owner's configuration, with its port or another; pinned is the name.
        (2200, "Host rig1.lan\n HostName 192.0.2.7\n Port 2200\n",
         {"hostname 192.0.2.7", "port 2200", "hostkeyalias [rig1.lan]:2200"}),
        (22, "Host rig1.lan\n HostName 192.0.2.7\n Port 2200\n",
         {"hostname 192.0.2.7", "port 22", "hostkeyalias rig1.lan"}),
    ],
)  # fmt: skip
def test_the_line_for_a_person_leads_there_as_it_is_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pins: str,
    port: int,
    config: str,
    said: set[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(config)
    made = data(tmp_path, known_hosts=tmp_path / pins, port=port)
    (tmp_path / "id").touch()
    line = openssh.line(made, "ai", "tmux", "attach")
    assert line.startswith("ssh -t ") and line.endswith(" ai@rig1.lan tmux attach")
    # By a shell, and by ssh's own reading.
    read = subprocess.run(
        line.replace("ssh ", f"ssh -G -F {tmp_path}/.ssh/config ", 1),
        shell=True, capture_output=True, text=True, check=True,
    ).stdout.replace("%%", "%").splitlines()  # fmt: skip
    assert said | {
        "user ai", f"userknownhostsfile {tmp_path / pins}", f"identityfile {tmp_path}/id",
        "requesttty true",
    } <= set(read)  # fmt: skip


def test_every_line_that_is_printed_for_a_person_is_made_in_one_place() -> None:
    made = re.compile(r"""["'`]ssh(-copy-id)? (-[tpio] |\{(?!port))""")
    found = {
        file.name
        for folder in ("deeprig", "deeprig_cli", "tasks", "files", "templates")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".json" and "__pycache__" not in file.parts
        and made.search(file.read_text(errors="replace"))
    }  # fmt: skip
    # What leads to another host than a box of the inventory, by its name alone.
    assert found <= {"first_login.py", "magic_packet.py"}


@pytest.mark.parametrize("hostname", ["fe80::1%eth0", "Rig1.LAN"])
def test_an_address_with_a_card_in_it_is_dialled_and_found_in_the_pins(
    tmp_path: Path, hostname: str
) -> None:
    block = openssh.config_block("far", data(tmp_path, hostname=hostname, port=2222), FORWARDS)
    read = as_ssh_reads_it(tmp_path, block, "far")
    assert f"hostname {hostname.lower()}" in [line.lower() for line in read]
    assert f"hostkeyalias [{hostname.lower()}]:2222" in read


def test_a_key_that_only_openssh_refuses_is_told_so(
    link: Callable[[str], SshProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "connect", lambda data: socket.socket())
    found = link(
        "echo \"Permissions 0644 for '/home/me/id' are too open.\" >&2; "
        "echo 'deeprig@rig1: Permission denied (publickey).' >&2; exit 255"
    )
    assert not found.open()
    with pytest.raises(DeeprigError, match=r"`ssh` does not get in .*; run `chmod 600 /home/me/id"):
        found.fail()


def test_without_a_key_file_the_agent_may_offer_all_it_has(tmp_path: Path) -> None:
    block = openssh.config_block("rig1.lan", data(tmp_path, key=None), FORWARDS)
    assert "Identit" not in block
    assert "identitiesonly no" in as_ssh_reads_it(tmp_path, block)


def test_the_port_that_was_proved_is_dialled(tmp_path: Path) -> None:
    before = openssh.options(data(tmp_path, new_port=2222), FORWARDS)
    (tmp_path / "pins").write_text(f"[rig1.lan]:2222 ssh-ed25519 {KEY}\n")
    after = openssh.options(data(tmp_path, new_port=2222), FORWARDS)
    assert (dict(before)["Port"], dict(after)["Port"]) == ("22", "2222")


def test_the_child_reads_no_configuration_file_and_asks_nobody(tmp_path: Path) -> None:
    command = openssh.command("rig1.lan", data(tmp_path), FORWARDS, "cat")
    assert command[:3] == ["ssh", "-F", "none"]
    assert "-oBatchMode=yes" in command
    assert command[-2:] == ["rig1.lan", "cat"]


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], SshProcess]]:
    """A link whose `ssh` is a script of the test's."""
    made: list[SshProcess] = []

    def begin(script: str) -> SshProcess:
        ssh = tmp_path / "ssh"
        # What the configuration says is asked of the real one.
        ssh.write_text(f'#!/bin/sh\n[ "$2" = -G ] && exec {shutil.which("ssh")} "$@"\n{script}\n')
        ssh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        made.append(SshProcess("rig1", data(tmp_path), FORWARDS, "ai"))
        return made[-1]

    yield begin
    for one in made:
        one.close()


GOOD = "0123456789abcdef" * 4


def test_a_token_is_taken_where_its_user_has_the_port(link: Callable[[str], SshProcess]) -> None:
    said = f"echo {TOKEN}{GOOD}; echo {OWNERS}1000 / 1000; echo {MARK}; exec cat"
    found = link(said)
    assert found.open()
    assert (found.token, found.stranger) == (GOOD, "")


@pytest.mark.parametrize(
    "token", ["root:$y$j9T$secret:20787:0", GOOD[:-1], f"{GOOD}0", "", "0" * 9]
)
def test_what_is_no_token_is_not_shown(link: Callable[[str], SshProcess], token: str) -> None:
    found = link(f"echo '{TOKEN}{token}'; echo {OWNERS}1000 / 1000; echo {MARK}; exec cat")
    assert found.open()
    assert found.token == ""
    assert "no token of ai's" in found.stranger
    assert "secret" not in found.stranger


@pytest.mark.parametrize("owners", ["1001 / 1000", "1000 1001 / 1000", "0 / 1000", "1000 / ", ""])
def test_no_token_goes_to_a_port_that_somebody_else_has(
    link: Callable[[str], SshProcess], owners: str
) -> None:
    found = link(f"echo {TOKEN}{GOOD}; echo '{OWNERS}{owners}'; echo {MARK}; exec cat")
    assert found.open()
    assert found.token == ""
    assert "not by ai" in found.stranger


@pytest.mark.parametrize("flood", ["cat /dev/zero", "yes", "cat /dev/zero >&2"])
def test_a_box_that_writes_without_end_is_given_up(
    link: Callable[[str], SshProcess], monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    monkeypatch.setattr("deeprig_cli.tunnel.process.OPEN_SECONDS", 2)
    monkeypatch.setattr("deeprig_cli.tunnel.process.END_SECONDS", 1)
    found = link(f"exec {flood}")
    assert not found.open()
    assert len(found.why()) <= 300
    assert "\0" not in found.why()


def who_listens(port: int) -> list[str]:
    """What a box would say of this port, and of root."""
    asked = _ask(8888, "ai")
    assert "runuser" not in asked and "sudo -n sh -c" in asked
    look = asked.partition(f"{OWNERS}$(")[2].replace(" 8888 ai", f" {port} root")
    return subprocess.run(
        ["sh", "-c", f'echo "$({look[: look.rindex(" 2>/dev/null")]})"'],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip


def test_the_box_is_asked_with_its_users_rights_and_looks_at_the_real_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert who_listens(server.getsockname()[1]) == [str(os.getuid()), "/", "0"]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert who_listens(port) == [str(os.getuid()), "/", "0"]
    assert who_listens(port) == ["/", "0"]


def test_nobody_listens_as_somebody_else_by_the_name_of_a_control_group() -> None:
    """`ss` shows it behind the number, and each user names groups below their own as they like."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    group = Path(next((at for _, at, kind, *_ in mounts if kind == "cgroup2"), "/"), "a uid:4242 b")
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); input()"
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        with subprocess.Popen(
            ["sh", "-c", f'echo $$ >"$1/cgroup.procs" && exec {sys.executable} -c "$2"',
             "sh", group, listen],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as squatter:  # fmt: skip
            assert squatter.stdout
            assert who_listens(int(squatter.stdout.readline())) == [str(os.getuid()), "/", "0"]
            squatter.communicate("\n")
    finally:
        group.rmdir()
