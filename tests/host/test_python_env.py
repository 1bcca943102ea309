"""Root's tools cannot be changed by the work user; the work user's own environment computes."""

import re
from collections.abc import Callable

import pytest
from packaging.utils import canonicalize_name
from testinfra.host import Host

from deeprig.settings import Python, Rig, requirements_file
from tests.host import sessions
from tests.host.newcomer import Login
from tests.host.sessions import SESSIONS

TOOLS = "/opt/deeprig/notebook"
BASE = "~/envs/base/bin"
FIND = "import sys, importlib.util as u; print(*(u.find_spec(m).name for m in sys.argv[1:]))"
LISTED = "import importlib.metadata as m; print(*(d.name for d in m.distributions()), sep='\\n')"
# An environment is its user's, so a deploy leaves it as it is.
ANEW = (
    "Python(update=True) and a deploy renew it; or have its user move ~/envs/base away, and the "
    "next deploy makes another"
)
ROOTS = "`sudo chown -R root: /opt/deeprig; sudo chmod -R go-w,a+rX /opt/deeprig/notebook-*` there"
Session = Callable[[str, str], str]


@pytest.fixture
def python(rig: Rig) -> Python:
    if rig.python is None:
        pytest.skip("this box leaves Python alone (python=None)")
    return rig.python


@pytest.fixture
def user(rig: Rig, python: Python) -> str:
    if rig.notebook is None:
        pytest.skip("nobody has an environment on a box without notebooks (notebook=None)")
    return rig.notebook.user


@pytest.fixture
def session(host: Host, login: Login, user: str) -> Session:
    """Run a command in one of SESSIONS."""

    def run(kind: str, command: str) -> str:
        return sessions.run(kind, command, host=host, user=user, login=login)

    return run


def asked_for(python: Python) -> set[str]:
    """The packages of `base`, by the user's own list of them where there is one."""
    if python.lock:
        return requirements_file.names(python.lock)
    return {canonicalize_name(re.split(r"[\[<>=!~]", package)[0]) for package in python.packages}


def test_the_environment_is_made_of_a_lock(host: Host, user: str, python: Python) -> None:
    """One that an older deeprig made has none until Python(update=True)."""
    with host.sudo(user):
        lock = f"{host.check_output('echo ~')}/envs/base.lock"
        if not host.file(lock).exists:
            pytest.skip("it was made before there were locks")
        said = host.check_output("cat %s", lock)
    pinned = re.findall(r"^[\w.-]+(?:\[[\w,.-]*\])?==", said, re.MULTILINE)
    assert len(pinned) > 2
    assert said.count("--hash=sha256:") >= len(pinned)


def test_uv_runs_for_everybody(host: Host, python: Python) -> None:
    assert host.check_output("/usr/local/bin/uv --version").startswith("uv ")


@pytest.mark.remedy("a start-up file of that session takes /usr/local/bin out of PATH; put it back")
@pytest.mark.parametrize("kind", SESSIONS)
def test_uv_is_found_without_its_path(session: Session, kind: str) -> None:
    assert session(kind, "command -v uv").strip().endswith("/uv")


@pytest.mark.remedy(ROOTS)
def test_the_tools_are_roots_and_nobody_elses(host: Host, user: str) -> None:
    with host.sudo():
        assert host.file(f"{TOOLS}/bin/jupyter-lab").user == "root"  # the control: it is there
        others = host.check_output(
            "find /opt/deeprig -path /opt/deeprig/cache -prune -o "
            "! -type l '(' ! -user root -o -perm /022 ')' -print | head"
        )
        assert host.file("/opt/deeprig/cache").mode == 0o700
    assert others == ""


def test_nobody_else_can_hold_up_the_work_users_uv(host: Host, user: str, python: Python) -> None:
    """By holding a lock of an environment's, which uv makes for everybody to write."""
    for name in ("base", *python.frameworks):
        with host.sudo(user):
            lock = f"{host.check_output('echo ~')}/envs/{name}/.lock"
            assert host.check_output("find %s -perm /022", lock) == ""


@pytest.mark.remedy(ROOTS)
def test_the_work_user_can_use_the_tools(host: Host, user: str) -> None:
    """That they run is seen where JupyterLab and TensorBoard answer; importing them takes long."""
    with host.sudo(user):
        assert host.check_output("cd /; find %s/ ! -readable -print -quit", TOOLS) == ""
        found = host.check_output("%s/bin/python -c %s jupyterlab tensorboard", TOOLS, FIND)
    assert found == "jupyterlab tensorboard"


@pytest.mark.remedy(ANEW)
def test_the_environment_has_the_packages_asked_for(host: Host, user: str, python: Python) -> None:
    wanted = asked_for(python)
    with host.sudo(user):
        listed = host.check_output(f"{BASE}/python -c %s", LISTED).splitlines()
    assert wanted <= set(map(canonicalize_name, listed))


@pytest.mark.remedy(ANEW)
def test_numpy_multiplies_matrices(host: Host, user: str, python: Python) -> None:
    if "numpy" not in asked_for(python):
        pytest.skip("numpy is not asked for on this box")
    with host.sudo(user):
        product = host.check_output(
            f"{BASE}/python -c 'import numpy; print(numpy.full((2, 3), 2) @ numpy.ones(3))'"
        )
    assert product == "[6. 6.]"


@pytest.mark.remedy(ANEW)
def test_pip_works_inside_the_environment(host: Host, user: str) -> None:
    with host.sudo(user):
        home = host.user(user).home
        where = host.check_output(f"{BASE}/python -c 'import pip; print(pip.__file__)'")
        assert where.startswith(f"{home}/envs/base/")
        assert "No broken requirements" in host.check_output(f"{BASE}/pip check")
        host.check_output("test -w ~/envs/base/bin -a -O ~/envs/base/bin")


@pytest.mark.remedy(ANEW)
def test_the_environment_has_the_python_asked_for(host: Host, user: str, python: Python) -> None:
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    wanted = python.python
    if wanted == "system":
        wanted = host.check_output("/usr/bin/python3 -I -c %s", version)
    with host.sudo(user):
        assert host.check_output(f"{BASE}/python -c %s", version) == wanted
        assert host.check_output("%s/bin/python -c %s", TOOLS, version) == wanted
