"""The order of the notebook's operations, what is a secret, and what a restart would interrupt."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy

from deeprig.settings import Notebook
from tasks import config_files, notebook

FILES = Path(__file__).parents[2] / "files/usr/local/lib/deeprig"
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
    assert names.index("Let ai's services run without a login") < len(names) - 1
    assert f"Write {notebook.UNIT_FILE}" in names[:-1]


def test_the_password_hash_is_in_no_name_and_in_no_file_for_everybody() -> None:
    settings = Notebook(password_hash=HASH)
    assert not any("argon2" in name for name in plan(settings))
    for path in ("/etc/deeprig/jupyter_server_config.py", "/etc/deeprig/notebook.conf"):
        text = config_files.render(path, notebook=settings, hash_file=notebook.HASH_FILE)
        assert HASH not in text
        assert (notebook.HASH_FILE in text) == path.endswith(".py")


def test_without_a_password_the_hash_file_is_taken_away() -> None:
    assert "No password beside the token" in plan(Notebook())
    assert "No password beside the token" not in plan(Notebook(password_hash=HASH))


def test_the_configuration_is_python_and_says_the_port() -> None:
    text = config_files.render(
        "/etc/deeprig/jupyter_server_config.py",
        notebook=Notebook(port=9999),
        hash_file=notebook.HASH_FILE,
    )
    compile(text, "jupyter_server_config.py", "exec")
    assert "c.ServerApp.port = 9999" in text
    assert "hashed_password" not in text


@pytest.fixture(scope="module")
def work() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook_work", FILES / "notebook_work.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# pid, parent, name, command of an idle notebook: tmux, two windows, Jupyter with one kernel
IDLE = [
    (10, 1, "tmux: server", "/usr/bin/tmux -L deeprig"),
    (11, 10, "notebook-window", "/bin/sh /usr/local/lib/deeprig/notebook-window jupyter"),
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
