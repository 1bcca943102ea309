"""Compute in a notebook's kernel, the way a browser does: Jupyter's API and a websocket."""

from testinfra.host import Host

from deeprig.settings import Notebook

# Run by the tools' Python as the work user with PORT KERNEL CODE; prints what the code prints.
COMPUTE = """
import json, os, pathlib, sys, uuid
import requests, websocket
port, name, code = sys.argv[1:]
rows = [line.split() for line in open("/proc/net/tcp")]
owners = {row[7] for row in rows if row[1] == f"0100007F:{int(port):04X}" and row[3] == "0A"}
if owners != {str(os.getuid())}:
    sys.exit(f"port {port} belongs to {owners or 'nobody'}, who gets no token")
token = (pathlib.Path.home() / ".config/deeprig/notebook-token").read_text().strip()
kernels, login = f"127.0.0.1:{port}/api/kernels", {"Authorization": f"token {token}"}
web = requests.Session()
web.trust_env = False
web.headers.update(login)
# Right after the boot of a slow box half a minute was not enough.
answer = web.post(f"http://{kernels}", json={"name": name}, timeout=300)
if not answer.ok:
    sys.exit(answer.text)
made = answer.json()["id"]
try:
    channel = websocket.create_connection(
        f"ws://{kernels}/{made}/channels", header=login, timeout=300, http_no_proxy=["*"]
    )
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3",
              "username": "", "session": uuid.uuid4().hex, "date": ""}
    channel.send(json.dumps({"header": header, "parent_header": {}, "metadata": {},
                             "content": content, "channel": "shell", "buffers": []}))
    while True:
        message = json.loads(channel.recv())
        kind, said = message["msg_type"], message["content"]
        if kind == "stream" and said["name"] == "stdout":
            print(said["text"], end="")
        if kind == "error":
            print(f"{said['ename']}: {said['evalue']}")
        # What is printed over a while comes in several messages; this one is after the last.
        ours = message["parent_header"].get("msg_id") == header["msg_id"]
        if ours and kind == "status" and said["execution_state"] == "idle":
            break
finally:
    web.delete(f"http://{kernels}/{made}", timeout=30)
"""


def compute(host: Host, notebook: Notebook, code: str, *, kernel: str = "deeprig-base") -> str:
    """All that `code` prints in a new kernel of that name, and its error."""
    python = "/opt/deeprig/notebook/bin/python"
    with host.sudo(notebook.user):
        done = host.run(f"{python} -c %s {notebook.port:d} %s %s", COMPUTE, kernel, code)
    last = done.stderr.strip().rpartition("\n")[2]
    assert done.rc == 0, f"no kernel {kernel}: {last}"
    said: str = done.stdout
    return said.strip()
