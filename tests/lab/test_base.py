"""What a fresh box does to automation, done to it on purpose."""

import base64
import re
import shlex
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from deeprig.settings import Rig, User
from deeprig.ssh import connection
from lab import boxes
from tasks import base, network_access, users
from tests.lab.conftest import PYINFRA, ROOT, host_data, run_on, running, shell, wait_for

pytestmark = pytest.mark.lab

CONTROL = "198.18.86.1"  # this machine, as the boxes see it
INDEX_NAME = "pypi.company.test"
HOLD_APT = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
    "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(40)"
)


def prepare(rig: Rig) -> None:
    survey = base.survey(rig=Rig(notebook=None))
    assert survey is not None
    network_access.provide(settings=rig)
    base.have_apt_ready(survey=survey)
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


def test_what_was_cut_off_while_it_was_unpacked_is_fetched_again(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    login("sudo rm /var/lib/dpkg/info/htop.list /var/lib/dpkg/info/htop.md5sums")
    assert "htop" in login("sudo dpkg --audit")  # the control
    report = run_on(box, prepare)
    assert report.error is None
    assert login("sudo dpkg --audit") == ""
    assert run_on(box, prepare).changes == []


# A package that takes its time, in a dpkg of its own.
SLOW = """
mkdir -p /tmp/slow/DEBIAN && cd /tmp
printf '#!/bin/sh\\n[ -e /run/again ] || sleep 99\\n' > slow/DEBIAN/postinst
chmod 755 slow/DEBIAN/postinst
printf '%s\\n' 'Package: slow' 'Version: 1' 'Architecture: all' 'Maintainer: lab' \\
    'Description: lab' > slow/DEBIAN/control
dpkg-deb -b slow && sudo systemd-run -q dpkg -i /tmp/slow.deb
"""


def test_automatic_updates_go_on_after_one_that_was_cut_off(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    """By the box itself: unattended-upgrade alone takes the leftovers for a lock, for ever."""
    login(f"sh -ec {shlex.quote(SLOW)}")
    wait_for(lambda: "slow.postinst" in running(box), 30)
    boxes.cut(box.name)
    login("sudo touch /run/again")
    said = login("sudo unattended-upgrade 2>&1", check=False)
    assert "lock" in said  # the control: the program alone
    login("sudo rm -f /var/lib/apt/periodic/*stamp; sudo systemctl start apt-daily-upgrade.service")
    assert login("sudo dpkg --audit; ls /var/lib/dpkg/updates") == ""
    assert login("dpkg-query -W -f '${db:Status-Status}' slow") == "installed"
    login("sudo dpkg --purge slow")


@pytest.fixture
def proxy() -> Iterator[list[str]]:
    """A real HTTP proxy on this machine that keeps what it was asked for, and the login."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Proxy-Authorization", "").removeprefix("Basic ")
            asked.append(f"{base64.b64decode(login).decode()} {self.path}".strip())
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


def test_apt_goes_through_the_proxy_of_the_settings(
    box: boxes.Box, login: Callable[..., str], proxy: list[str]
) -> None:
    address = proxy.pop()
    report = run_on(box, lambda rig: network_access.provide(settings=Rig(apt_proxy=address)))
    assert report.error is None
    login("sudo apt-get -q update")
    assert [path for path in proxy if path.startswith("http://") and "Release" in path]

    assert run_on(box, prepare).error is None  # without it again
    assert login("apt-config dump Acquire::http::Proxy") == ""


def test_the_login_of_apts_proxy_is_read_by_root_alone(
    box: boxes.Box, login: Callable[..., str], proxy: list[str], changed: Callable[..., Path]
) -> None:
    """And said nowhere: neither in what pyinfra prints at its loudest nor in what it leaves."""
    address = proxy.pop().replace("//", "//anna:canary77@")
    ours = f'notebook=None, apt_proxy="{address}",'
    file = changed(('notebook=Notebook(user="ai"),', ours))
    done = subprocess.run(
        [PYINFRA, "-vvv", "-y", str(file), "deploy.py"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "canary77" not in done.stdout + done.stderr
    assert [line for line in proxy if line.startswith("anna:canary77 http://")]
    login("sudo apt-get -q update && [ ! -r /etc/apt/auth.conf.d/deeprig-proxy.conf ]")
    found = login("sudo grep -rls canary7[7] /etc /var/lib/deeprig /var/log /home /run || true")
    assert found.split() == ["/etc/apt/auth.conf.d/deeprig-proxy.conf"]
    for ask in (
        ["pyinfra", str(file), "debug-inventory"],
        ["deeprig", "plan", "--inventory", str(file)],
    ):
        program = Path(sys.executable).with_name(ask[0])
        said = subprocess.run(
            [program, *ask[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )
        assert "canary77" not in said.stdout + said.stderr
        assert box.name in said.stdout + said.stderr  # the control
    run_on(box, prepare)
    assert login("ls /etc/apt/auth.conf.d").strip() == ""


def test_pip_and_uv_ask_the_index_of_the_settings_and_trust_its_ca(
    box: boxes.Box, login: Callable[..., str], tmp_path: Path
) -> None:
    """As behind a company's wall: an index with a certificate that only the company vouches for.

    It may want a login, which is not in the settings: pip and uv find it in ~/.netrc.
    """
    asked: list[str] = []
    with index(tmp_path, asked) as address:
        ours = Rig(ca_certificates=(str(tmp_path / "ca.pem"),), pypi_index=f"{address}/simple")
        assert run_on(box, lambda rig: network_access.provide(settings=ours)).error is None
        login(f"echo {CONTROL} {INDEX_NAME} | sudo tee -a /etc/hosts")
        login(f"umask 077; echo machine {INDEX_NAME} login anna password pw77 > ~/.netrc")
        login("sudo apt-get -q update && sudo apt-get -q install -y python3-pip")
        with connection.connect(host_data(box)) as client, client.open_sftp() as files:
            files.put(str(Path(sys.executable).with_name("uv")), "/tmp/uv")
        login("python3 -m pip download --no-deps --dest /tmp from-pip", check=False)
        login("chmod +x /tmp/uv; /tmp/uv pip install --target /tmp/x from-uv", check=False)
        login("rm ~/.netrc")
    assert "anna:pw77 /simple/from-pip/" in asked
    assert "anna:pw77 /simple/from-uv/" in asked
    assert run_on(box, prepare).error is None


@contextmanager
def index(folder: Path, asked: list[str]) -> Iterator[str]:
    """A package index without packages, over TLS; `asked` gets logins and paths as it is asked."""
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    ca = ["-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=company"]
    subprocess.run([*make, *ca], check=True, capture_output=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [*make, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-subj", "/CN=index",
         "-addext", f"subjectAltName=DNS:{INDEX_NAME}", "-addext", "basicConstraints=CA:FALSE",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Authorization", "").removeprefix("Basic ")
            asked.append(f"{base64.b64decode(login).decode()} {self.path}".strip())
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest's output is for results."""

    server = ThreadingHTTPServer((CONTROL, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://{INDEX_NAME}:{server.server_port}"
    server.shutdown()


def test_people_come_with_their_keys_and_go_again(
    box: boxes.Box, login: Callable[..., str], tmp_path: Path
) -> None:
    private = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private], check=True)
    public = private.with_suffix(".pub").read_text()

    def have(**more: object) -> Callable[[Rig], None]:
        anna = User(name="anna", keys=(public,), **more)  # type: ignore[arg-type]

        def build(rig: Rig) -> None:
            users.provide(settings=(anna,))

        return build

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

    login("sudo systemd-run --quiet --uid=anna --unit=annas-work sleep 1000")
    assert run_on(box, have(present=False)).error is None
    with pytest.raises(DeeprigError, match="does not let anna in"):
        connection.connect(data)
    assert login("pgrep -u anna -x sleep") != ""  # her work goes on, and she is back if wanted
    assert run_on(box, have(present=False)).changes == []
    assert run_on(box, have()).error is None
    connection.connect(data).close()
    login("sudo systemctl stop annas-work")

    assert run_on(box, have(present=False)).error is None
    with pytest.raises(DeeprigError, match="does not let anna in"):
        connection.connect(data)
    assert login("getent passwd anna", check=False) == ""
    assert login("sudo cat /home/anna/file").strip() == "mine"
    assert run_on(box, have(present=False)).changes == []
