"""What the Python environments' task would do, and the sentence for an install that fails."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy

from deeprig.settings import Python
from tasks import python_env

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deeprig/data/notebook/notebook.lock"


def plan(user: str | None) -> list[str]:
    state = State(inventory=Inventory((["@fake/rig"], {"fake_delay": 0})), config=Config())
    connect_all(state)
    add_deploy(state, python_env.provide, settings=Python(python="system"), user=user)
    return [name for op in state.get_op_order() for name in state.op_meta[op].names]


@pytest.fixture(scope="module")
def install_step() -> ModuleType:
    file = ROOT / "files/usr/local/lib/deeprig/install_step.py"
    spec = importlib.util.spec_from_file_location("install_step", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tools_come_before_what_people_compute_in() -> None:
    names = [name.removeprefix("Python environments | ") for name in plan("ai")]
    order = ["Install uv", "Build the tools' environment", "Make ai's environment base"]
    assert [name for name in names if name in order] == order


def test_without_notebooks_there_is_only_uv() -> None:
    assert plan(None)[-1] == "Python environments | Install uv"


def test_another_python_is_another_tool_environment() -> None:
    system, fetched = (python_env.tool_folder("a==1", python) for python in ("system", "3.12"))
    assert system != fetched
    assert re.fullmatch(r"notebook-[0-9a-f]{12}", system)


@pytest.mark.parametrize("name", ["notebook.lock", "uv.lock"])
def test_every_package_of_a_lock_has_a_checksum_and_no_address(name: str) -> None:
    text = LOCK.with_name(name).read_text()
    assert "://" not in text
    for requirement in re.split(r"\n(?=\w)", re.sub(r"(?m)^#.*\n", "", text)):
        assert re.match(r"[\w.-]+==\S+", requirement)
        assert "--hash=sha256:" in requirement


UV_OFFLINE = """\
error: Failed to install cpython-3.12.16-linux-x86_64-gnu
  cause: Request failed after 3 retries in 20.5s
  cause: Failed to download `https://github.com/a/b/cpython-3.12.tar.gz`
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
"""
PIP_OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to \
establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/uv/
ERROR: No matching distribution found for uv==0.13.9
"""
PIP_PROXY = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to \
proxy.', NewConnectionError('Failed: [Errno 111] Connection refused'))': /simple/uv/
"""
UV_CONFLICT = """\
  x No solution found when resolving dependencies:
error: Because there is no version of nonsense==9 and you require it, there is no way.
"""


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (UV_OFFLINE, "cannot reach github.com: its name cannot be resolved; check the network"),
        (PIP_OFFLINE, "cannot reach the package index: its name cannot be resolved; check"),
        (PIP_PROXY, "cannot reach the package index: it refuses the connection; check"),
        (UV_CONFLICT, "error: Because there is no version of nonsense==9"),
        ("", "it failed without a word"),
    ],
)
def test_a_failed_install_is_one_sentence(
    install_step: ModuleType, output: str, sentence: str
) -> None:
    said = install_step.explain(output)
    assert said.startswith(sentence)
    assert "\n" not in said
