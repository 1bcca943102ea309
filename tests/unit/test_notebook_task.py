"""The order of the notebook's operations, what is a secret, and what a restart would interrupt."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest
from deeprig_box.lib import place
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy

from deeprig.operations import files
from deeprig.settings import Notebook
from tasks import notebook
from tests.unit import box_scripts

HASH = "argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdHNhbHQ$aGFzaGhhc2g"


def plan(settings: Notebook) -> list[str]:
    state = State(inventory=Inventory((["@fake/rig"], {"fake_delay": 0})), config=Config())
    connect_all(state)
    add_deploy(state, notebook.serve, settings=settings)
    names = [name for op in state.get_op_order() for name in state.op_meta[op].names]
    return [name.removeprefix("Notebook server | ") for name in names]


def test_the_servers_start_after_all_that_they_read() -> None:
    names = plan(Notebook())
    assert names[-1] == "Have both servers run and answer"
    assert names[-2] == "Keep the ports and the tmux folder for ai"
    assert names.index("Let ai's services run without a login") < len(names) - 1
    assert f"Write {notebook.UNIT_FILE}" in names[:-1]


def test_the_password_hash_is_in_no_name_and_in_no_file_for_everybody() -> None:
    settings = Notebook(password_hash=HASH)
    assert not any("argon2" in name for name in plan(settings))
    for path in ("/etc/deeprig/jupyter_server_config.py", "/etc/deeprig/notebook.conf"):
        text = files.render(
            path, notebook=settings, hash_file=notebook.HASH_FILE, deploy_user="deeprig"
        )
        assert HASH not in text
        assert (notebook.HASH_FILE in text) == path.endswith(".py")


def test_without_a_password_the_hash_file_is_taken_away() -> None:
    assert "No password beside the token" in plan(Notebook())
    assert "No password beside the token" not in plan(Notebook(password_hash=HASH))


def test_the_configuration_is_python_and_says_the_port() -> None:
    text = files.render(
        "/etc/deeprig/jupyter_server_config.py",
        notebook=Notebook(port=9999),
        hash_file=notebook.HASH_FILE,
    )
    compile(text, "jupyter_server_config.py", "exec")
    assert "c.ServerApp.port = 9999" in text
    assert "hashed_password" not in text


@pytest.mark.parametrize("token", [None, "", "ab", "g" * 64, "a" * 63, "a" * 64 + "\nb"])
def test_no_server_starts_without_a_whole_token(
    token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".config/deeprig/notebook-token"
    file.parent.mkdir(parents=True)
    path = "/etc/deeprig/jupyter_server_config.py"
    text = files.render(path, notebook=Notebook(), hash_file=notebook.HASH_FILE)
    if token is not None:
        file.write_text(token)
    # Jupyter goes on after any other exception, without a token.
    with pytest.raises(SystemExit, match="is no token"):
        exec(text, {"get_config": MagicMock()})
    file.write_text("0" * 64)
    config = MagicMock()
    exec(text, {"get_config": lambda: config})  # the control
    assert config.IdentityProvider.token == "0" * 64
    assert config.ConnectionFileMixin.transport == "ipc"  # no ports that any account can listen to


WINDOW = box_scripts.SCRIPTS / "notebook-window"


@pytest.mark.parametrize(
    "there",
    [
        "true",
        ": > $t",
        "echo abc > $t",
        "printf '%064d' 0 > $t.old; ln -s $t.old $t",
        "mkfifo $t",
        "ln -s /dev/zero $t",
        "printf '%064dg' 0 > $t",
    ],
)
def test_whatever_is_no_token_is_replaced_by_one(there: str, tmp_path: Path) -> None:
    home, token = tmp_path, tmp_path / ".config/deeprig/notebook-token"
    token.parent.mkdir(parents=True)
    subprocess.run(["sh", "-c", f"t={token}; {there}"], check=True)

    def prepare() -> None:
        done = subprocess.run(
            ["sh", str(WINDOW), "prepare"], capture_output=True, text=True, timeout=20,
            env={"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    prepare()
    assert token.is_file() and not token.is_symlink()
    made = token.read_text()
    assert re.fullmatch("[0-9a-f]{64}", made) and made != "0" * 64
    prepare()
    assert token.read_text() == made  # the control: a token stays


def test_a_token_that_cannot_be_written_stops_the_unit(tmp_path: Path) -> None:
    (tmp_path / ".config/deeprig/notebook-token").mkdir(parents=True)
    done = subprocess.run(
        ["sh", str(WINDOW), "prepare"], capture_output=True, text=True, timeout=20,
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("cannot be made: is the disk full?")


@pytest.fixture
def work() -> Iterator[ModuleType]:
    with box_scripts.loaded("notebook.processes") as module:
        yield module


def test_a_listener_is_known_by_its_sockets_owner(work: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        [row] = work.listeners(port)
        assert row.uid == os.getuid()
        assert work.holders(row, work.pids()) == [os.getpid()]
        assert work.servers(port, os.getuid()) == set()  # of no unit
        name = work.account(os.getuid())
        assert work.stranger(port, os.getuid()).endswith(f"(process {os.getpid()}) of {name}")
    assert work.listeners(port) == []
    assert work.stranger(port, os.getuid()) == ""


def test_who_listens_on_every_address_has_the_port_where_nobody_has_loopback(
    work: ModuleType,
) -> None:
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as wide:
        assert [row.uid for row in work.listeners(wide.getsockname()[1])] == [os.getuid()]
    with socket.create_server(("127.0.0.2", 0)) as elsewhere:
        assert work.listeners(elsewhere.getsockname()[1]) == []


def test_the_other_end_of_a_connection_has_an_owner_once_it_is_accepted(
    work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "ACCEPT_SECONDS", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as channel,
    ):
        with pytest.raises(work.NotOurs, match="nobody of ours takes the connection"):
            work.prove_other_end(channel, os.getuid())
        with server.accept()[0]:
            work.prove_other_end(channel, os.getuid())
            with pytest.raises(work.NotOurs, match="belongs to"):
                work.prove_other_end(channel, os.getuid() + 1)


@pytest.mark.parametrize(
    ("group", "uid", "ours"),
    [
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}", 1000, True),
        ("1:name=systemd:/user.slice/user-1000.slice/user@1000.service/{unit}", 1000, True),
        ("0::/user.slice/user-1001.slice/user@1001.service/app.slice/{unit}", 1000, False),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}", 1001, False),
        ("0::/system.slice/{unit}", 1000, False),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/my-{unit}", 1000, False),
        ("4:memory:/user.slice/user-1000.slice/user@1000.service/{unit}", 1000, False),
    ],
)
def test_a_process_is_ours_in_its_users_slice_only(
    work: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    group: str, uid: int, ours: bool,
) -> None:  # fmt: skip
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text(group.format(unit=work.UNIT) + "\n")
    (tmp_path / "7/status").write_text(f"Name:\tjupyter\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    monkeypatch.setattr(work.proc, "PROC", tmp_path)
    assert work.is_ours(7, 1000) is ours


# pid, parent, name, command of an idle notebook: tmux, two windows, Jupyter with one kernel
IDLE = [
    (10, 1, "tmux: server", "/usr/bin/tmux -L deeprig"),
    (11, 10, "notebook-window", f"/bin/sh {place.script('notebook-window')} jupyter"),
    (12, 10, "notebook-window", "/bin/sh /usr/local/lib/deeprig/notebook-window tensorboard"),
    (13, 11, "jupyter-lab", "/opt/deeprig/notebook-1/bin/python jupyter-lab"),
    (14, 13, "python", "/home/ai/envs/base/bin/python -m ipykernel_launcher -f k.json"),
]


@pytest.mark.parametrize(
    ("more", "running"),
    [
        ([], []),
        ([(20, 13, "bash", "/bin/bash -l")], []),  # a terminal at its prompt
        ([(20, 13, "bash", "/bin/bash -l"), (21, 20, "nvcc", "nvcc a.cu")], ["nvcc"]),
        ([(20, 10, "bash", "-bash")], []),  # a window that the user opened
        ([(20, 10, "bash", "-bash"), (21, 20, "python", "python train.py")], ["python"]),
        ([(20, 10, "python", "python train.py")], ["python"]),  # `new-window python train.py`
    ],
)
def test_a_program_in_a_terminal_or_window_is_work(
    work: ModuleType, more: list[tuple[int, int, str, str]], running: list[str]
) -> None:
    there = [work.Process(*values) for values in [*IDLE, *more]]
    assert work.busy_shells(there, {13}) == running
