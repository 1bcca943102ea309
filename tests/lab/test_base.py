"""What a fresh box does to automation, done to it on purpose."""

import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import paramiko
import pytest

from deeprig import connection
from deeprig.errors import DeeprigError
from deeprig.settings import Rig, User
from lab import boxes
from tasks import base, network_access, users
from tests.lab.conftest import PYINFRA, ROOT, host_data, run_on, shell

pytestmark = pytest.mark.lab

CONTROL = "198.18.86.1"  # this machine, as the boxes see it
HOLD_APT = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
    "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(12)"
)


def prepare(rig: Rig) -> None:
    survey = base.survey(rig=Rig(notebook=None))
    assert survey is not None
    network_access.provide(settings=rig)
    base.prepare(survey=survey)


def test_who_holds_apt_is_named_and_awaited(
    box: boxes.Box, login: Callable[..., str], tmp_path: Path
) -> None:
    only_base = tmp_path / "only_base.py"
    only_base.write_text(
        "from pyinfra.context import config, host\n"
        "from tests.lab.test_base import prepare\n"
        "config.SUDO = True\n"
        "prepare(host.data.rig)\n"
    )
    login(f'sudo systemd-run --quiet --unit=hold python3 -c "{HOLD_APT}"')
    started = time.monotonic()
    done = subprocess.run(
        [PYINFRA, "-y", str(box.inventory), str(only_base)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert time.monotonic() - started > 5
    assert re.search(r"Waiting for python3 \(process \d+\), which holds apt", said)


def test_what_an_interrupted_dpkg_left_is_finished(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    login("cd /tmp && apt-get -q download sl && sudo dpkg --unpack sl_*.deb")
    assert "sl" in login("sudo dpkg --audit")  # the control: it is half done
    report = run_on(box, prepare)
    assert report.error is None
    assert [name for name in report.changes if "interrupted" in name]
    assert login("sudo dpkg --audit") == ""
    assert run_on(box, prepare).changes == []


@pytest.fixture
def proxy() -> Iterator[list[str]]:
    """A real HTTP proxy on this machine that keeps what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if not self.path.startswith("http://"):
                self.send_error(404)
                return
            try:
                with urllib.request.urlopen(self.path, timeout=30) as answer:
                    body = answer.read()
                    self.send_response(answer.status)
            except urllib.error.HTTPError as error:
                body = b""
                self.send_response(error.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest's output is for results."""

    server = ThreadingHTTPServer((CONTROL, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked.append(f"http://{CONTROL}:{server.server_port}")
    yield asked
    server.shutdown()


def test_apt_pip_and_uv_go_where_the_settings_send_them(
    box: boxes.Box, login: Callable[..., str], proxy: list[str]
) -> None:
    address = proxy.pop()
    report = run_on(box, lambda _: prepare(Rig(apt_proxy=address, pypi_index=f"{address}/simple")))
    assert report.error is None
    login("sudo apt-get -q update")
    assert [path for path in proxy if path.startswith("http://") and "Release" in path]
    login("python3 -m pip download --no-deps six", check=False)
    login("sudo apt-get -q install -y python3-pip python3-venv", check=False)
    login("python3 -m pip download --no-deps six", check=False)
    assert [path for path in proxy if path.startswith("/simple/six")]

    assert run_on(box, prepare).error is None  # without them again
    assert login("apt-config dump Acquire::http::Proxy") == ""
    assert "index-url" not in login("cat /etc/pip.conf /etc/uv/uv.toml")


def test_people_come_with_their_keys_and_go_again(
    box: boxes.Box, login: Callable[..., str], tmp_path: Path
) -> None:
    key = paramiko.ECDSAKey.generate()
    public = f"{key.get_name()} {key.get_base64()} anna@laptop"
    private = tmp_path / "id"
    key.write_private_key_file(str(private))

    def have(**more: object) -> Callable[[Rig], None]:
        anna = User(name="anna", keys=(public,), **more)  # type: ignore[arg-type]
        return lambda _: users.provide(settings=(anna,))

    report = run_on(box, have(sudo=True))
    assert report.error is None
    data = {**host_data(box), "ssh_user": "anna", "ssh_key": str(private)}
    with connection.connect(data) as client:
        assert shell(client, "id -un").strip() == "anna"
        assert "sudo" in shell(client, "id -nG").split()
        shell(client, "echo mine > ~/file")
    assert run_on(box, have(sudo=True)).changes == []

    assert run_on(box, have(sudo=False)).error is None
    assert "sudo" not in login("id -nG anna").split()

    assert run_on(box, have(present=False)).error is None
    with pytest.raises(DeeprigError, match="does not let anna in"):
        connection.connect(data)
    assert login("sudo cat /home/anna/file").strip() == "mine"
    assert run_on(box, have(present=False)).changes == []
