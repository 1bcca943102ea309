"""What the work user's own files say to other programs: the notebook and environments go on."""

import re
from collections.abc import Callable

import pytest

from lab import boxes
from tasks import python_env
from tests.lab.conftest import run_on
from tests.lab.test_bootstrap import inside
from tests.lab.test_jobs import build

pytestmark = pytest.mark.lab

Login = Callable[..., str]
SERVER = "sudo /usr/local/lib/deeprig/current/deeprig-box notebook-server"
ENV = "/usr/local/lib/deeprig/current/deeprig-box python-env"
# As people have them: for a JupyterHub of theirs, a conda, an index of PyTorch's.
FILES = {
    ".jupyter/jupyter_lab_config.py": "c.ServerApp.base_url = '/jup/'\n"
    "c.ServerApp.allow_origin = '*'\nc.ServerApp.disable_check_xsrf = True\n",
    ".jupyter/jupyter_server_config.json": '{"ServerApp": {"base_url": "/jup2/", '
    '"contents_manager_class": "jupytext.TextFileContentsManager", '
    '"tornado_settings": {"disable_check_xsrf": true}}}\n',
    ".jupyter/jupyter_config.json": '{"ServerApp": {"base_url": "/jup3/", "certfile": "/x"}}\n',
    ".config/uv/uv.toml": '[[index]]\nurl = "https://nowhere.invalid/simple"\ndefault = true\n',
    ".config/pip/pip.conf": "[global]\nindex-url = https://nowhere.invalid/simple\n",
    "modules/tornado.py": 'raise SystemExit("a tornado of somebody else")\n',
    ".config/environment.d/own.conf": "PYTHONPATH=/home/ai/modules\nTMUX_TMPDIR=/home/ai\n"
    "JUPYTER_TOKEN=easy\nJUPYTERLAB_DIR=/nowhere\nUV_INDEX_URL=https://nowhere.invalid/\n",
}


def write(box: boxes.Box, files: dict[str, str]) -> None:
    for name, text in files.items():
        inside(
            box,
            f"runuser -u ai -- sh -c 'mkdir -p \"$(dirname ~/{name})\"'; "
            f"cat > /home/ai/{name} <<'END'\n{text}END\nchown ai: /home/ai/{name}",
        )


@pytest.fixture(scope="module", autouse=True)
def deployed(box: boxes.Box) -> None:
    """On a home that has them from the beginning."""
    inside(box, "(apt-get -q update && apt-get -q -y install curl) >/dev/null 2>&1")
    write(box, FILES)
    report = run_on(box, build)
    assert report.error is None, report.steps


def test_both_servers_answer_where_the_link_leads(login: Login) -> None:
    assert login(f"{SERVER} state") == "ok\n"
    status = login(
        'sudo -u ai -H sh -c \'sed "s/^/Authorization: token /" ~/.config/deeprig/notebook-token | '
        'curl -s -o /dev/null -w "%{http_code}" -H @- http://127.0.0.1:8888/api/status\''
    )
    assert status == "200"


def test_pages_of_others_get_nothing(login: Login) -> None:
    headers = login(
        "sudo -u ai curl -s -D - -o /dev/null -H 'Origin: http://evil.example' "
        "http://127.0.0.1:8888/api"
    )
    assert re.match(r"HTTP/1.1 (200|403|404)", headers)
    assert "access-control-allow-origin" not in headers.lower()


def test_a_tmux_of_a_login_finds_the_session(login: Login) -> None:
    assert "jupyter" in login("sudo -u ai -H tmux -L deeprig list-windows -t notebook -F '#W'")


def test_an_easy_token_of_the_environment_opens_nothing(login: Login) -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: token easy'"
    assert login(f"sudo -u ai {ask} http://127.0.0.1:8888/api/kernels") == "403"


def test_the_environment_was_made_from_the_boxs_index(login: Login) -> None:
    assert login(f"sudo -u ai -H {ENV} --check base 3.13") in ("ok\n", "")
    assert (
        login("sudo -u ai -H sh -c '~/envs/base/bin/python -I -c \"import numpy\"; echo $?'")
        == "0\n"
    )


@pytest.mark.parametrize("way", ["read-only", "full"])
def test_a_home_that_cannot_be_written_to_is_one_sentence(
    box: boxes.Box, login: Login, way: str
) -> None:
    over = {
        "read-only": "mount --bind /home/ai /home/ai; mount -o remount,bind,ro /home/ai",
        "full": "mount -t tmpfs -o size=64k,uid=1000,gid=1000,mode=700 none "
        "/home/ai/.config/deeprig; head -c 65536 /dev/zero > /home/ai/.config/deeprig/f || true",
    }
    under = {"read-only": "/home/ai", "full": "/home/ai/.config/deeprig"}
    inside(box, f"systemctl stop user@1000; {over[way]}; systemctl start user@1000")
    try:
        said = login(f"{SERVER} start 2>&1 || true")
        assert len(said.splitlines()) == 1 and said.startswith("ai's notebook cannot start: /home")
        assert ("read-only" if way == "read-only" else "df -h") in said
        assert login("curl -s -m 5 http://127.0.0.1:8888/api/kernels || echo shut") == "shut\n"
    finally:
        inside(box, f"systemctl stop user@1000; umount -l {under[way]}; systemctl start user@1000")
    assert run_on(box, build).error is None  # and with room it starts


def test_pythons_stay_that_a_home_elsewhere_is_made_of(box: boxes.Box) -> None:
    inside(
        box,
        "useradd --create-home --base-dir /srv/homes anna 2>/dev/null || "
        "{ mkdir -p /srv/homes; useradd --create-home --base-dir /srv/homes anna; }; "
        "install -d -o anna /srv/homes/anna/envs/own; "
        "echo home = /opt/deeprig/python/x > /srv/homes/anna/envs/own/pyvenv.cfg",
    )
    asks = f'{python_env.IN_USE}; echo "used: $used"'
    assert inside(box, asks).endswith("used: yes")
    inside(box, "rm /srv/homes/anna/envs/own/pyvenv.cfg; rm -rf /home/ai/envs")
    assert inside(box, asks).endswith("used:")  # the control
