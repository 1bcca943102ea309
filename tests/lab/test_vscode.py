"""What VS Code's Remote-SSH does, done with OpenSSH's own clients, as docs/vscode.md says to."""

import json
import re
import shlex
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from deeprig_cli.tunnel import local_ports
from lab import boxes, inventory_file
from tests.lab.conftest import DEEPRIG, ROOT, deploy, wait_for
from tests.lab.tunnels import Tunnel, tunnel

pytestmark = pytest.mark.lab

# What the piped script starts: a server on a port of its own choice, which outlives the connection.
SERVER = """
import http.server, pathlib
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
pathlib.Path("port").write_text(str(server.server_port))
server.serve_forever()
"""
BOOTSTRAP = f"""
mkdir -p ~/.vscode-server/bin && cd ~/.vscode-server && rm -f port && umask 077
nohup python3 -c {shlex.quote(SERVER)} > log 2>&1 < /dev/null &
until [ -s port ]; do sleep 0.1; done
echo "listeningOn==$(cat port)=="
"""


@pytest.fixture(scope="module")
def inventory(box: boxes.Box) -> Path:
    """Of a deployed box whose work user has a key."""
    key = box.key.with_suffix(".pub").read_text().strip()
    box.inventory.write_text(inventory_file.text(box, work_users_key=key))
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    return box.inventory


@pytest.fixture(scope="module")
def config(box: boxes.Box, inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ssh_config that the command in the document writes."""
    text = (ROOT / "docs/vscode.md").read_text()
    found = re.search(r"^ +deeprig (tunnel rig1.lan .*) >> ~/.ssh/config$", text, re.MULTILINE)
    assert found
    words = found[1].replace("rig1.lan", f"{box.name} --inventory {shlex.quote(str(inventory))}")
    printed = subprocess.run(
        ["sh", "-c", f"{DEEPRIG} {words}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    file = tmp_path_factory.mktemp("ssh") / "config"
    file.write_text(printed)
    return file


@pytest.fixture
def session(box: boxes.Box, config: Path) -> Iterator["Session"]:
    """`ssh -T -D PORT HOST bash`, as Remote-SSH begins."""
    [socks] = local_ports.choose([21081])
    command = ["ssh", "-F", str(config), "-T", "-D", f"127.0.0.1:{socks}", box.name, "bash"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield Session(process, socks)
        finally:
            process.terminate()


class Session:
    """A shell on the box that takes one script after the other."""

    def __init__(self, process: subprocess.Popen[str], socks: int) -> None:
        self.process, self.socks = process, socks

    def run(self, script: str) -> str:
        """The last line that a script prints."""
        assert self.process.stdin and self.process.stdout
        mark = uuid.uuid4().hex
        self.process.stdin.write(f"{script}\necho {mark}\n")
        last = ""
        while (line := self.process.stdout.readline()) != f"{mark}\n":
            assert line, "the session has ended"
            last = line
        return last.strip()

    def start_server(self) -> int:
        """The port that the server on the box listens on."""
        found = re.fullmatch("listeningOn==([0-9]+)==", self.run(BOOTSTRAP))
        assert found
        return int(found[1])


@contextmanager
def forward(box: boxes.Box, config: Path, port: int) -> Iterator[str]:
    """`ssh -N -L` to a port of the box's loopback, and the address of its end here."""
    [local] = local_ports.choose([21091])
    command = ["ssh", "-F", str(config), "-N", "-L", f"127.0.0.1:{local}:127.0.0.1:{port}"]
    with subprocess.Popen([*command, box.name]) as process:
        try:
            wait_for(lambda: not could_listen(local), 15)
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()


def could_listen(port: int) -> bool:
    return local_ports.choose([port]) == [port]


def curl(url: str, *options: str) -> str:
    """What a URL gives through no proxy but the one that is named."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "10", *(options or ["--noproxy", "*"]),
         url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_the_piped_script_runs_as_the_work_user_and_the_session_stays(session: Session) -> None:
    assert session.run("id -un") == "ai"
    session.run("x=$(sleep 6; echo kept)")
    assert session.run("echo $x; read line\nfrom stdin\necho $line") == "from stdin"
    assert session.run("echo $x") == "kept"


def test_files_go_both_ways_by_sftp(box: boxes.Box, config: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(bytes(range(256)) * 4096)
    steps = "-mkdir .vscode-server\nput up .vscode-server/file\nget .vscode-server/file down\n"
    subprocess.run(
        ["sftp", "-q", "-F", str(config), "-b", "-", box.name],
        input=steps, text=True, cwd=tmp_path, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()


def test_a_port_of_the_users_is_reached_through_socks(session: Session) -> None:
    port = session.start_server()
    proxy = f"socks5h://127.0.0.1:{session.socks}"
    assert curl(f"http://127.0.0.1:{port}/port", "--proxy", proxy, "--noproxy", "") == str(port)


def test_a_port_of_the_users_is_forwarded(box: boxes.Box, config: Path, session: Session) -> None:
    port = session.start_server()
    with forward(box, config, port) as address:
        assert curl(f"{address}/port") == str(port)


def test_the_server_outlives_its_connection(box: boxes.Box, config: Path, session: Session) -> None:
    port = session.start_server()
    session.process.terminate()
    session.process.wait(timeout=10)
    with forward(box, config, port) as address:
        assert curl(f"{address}/port") == str(port)


@pytest.fixture(scope="module")
def opened(inventory: Path) -> Iterator[Tunnel]:
    with tunnel(inventory, "--json") as there:
        yield there


def jupyter(url: str, path: str, *, method: str = "GET", token: str | None = None) -> Any:
    """JupyterLab's answer, asked by the token of its link, or by another one."""
    base, _, own = url.partition("/lab?token=")
    ask = urllib.request.Request(
        f"{base}/api/{path}",
        method=method,
        data=json.dumps({"name": "deeprig-base"}).encode() if method == "POST" else None,
        headers={"Authorization": f"token {own if token is None else token}"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(ask, timeout=20) as answer:
        return json.loads(answer.read() or "null")


def test_the_printed_link_is_an_existing_jupyter_server(opened: Tunnel) -> None:
    url = opened.links["jupyterlab"]["url"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        jupyter(url, "kernels", token="wrong")
    assert "deeprig-base" in jupyter(url, "kernelspecs")["kernelspecs"]
    kernel = jupyter(url, "kernels", method="POST")["id"]
    try:
        assert [one["id"] for one in jupyter(url, "kernels")] == [kernel]
        assert execute(url, kernel, "1+1") == "2"
    finally:
        jupyter(url, f"kernels/{kernel}", method="DELETE")


def execute(url: str, kernel: str, code: str) -> str:
    """What a cell comes to, over the kernel's websocket."""
    address = url.replace("http", "ws", 1).replace("/lab?", f"/api/kernels/{kernel}/channels?")
    channel = websocket.create_connection(address, timeout=30, http_no_proxy=["127.0.0.1"])
    message = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3",
               "username": "", "session": uuid.uuid4().hex, "date": ""}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    channel.send(json.dumps({"header": message, "parent_header": {}, "metadata": {},
                             "content": content, "channel": "shell", "buffers": []}))  # fmt: skip
    try:
        while True:
            said = json.loads(channel.recv())
            if said["msg_type"] == "execute_result":
                return str(said["content"]["data"]["text/plain"])
    finally:
        channel.close()
