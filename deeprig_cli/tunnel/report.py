"""What `deeprig tunnel` shows: the links."""

from deeprig.settings import Notebook
from deeprig.ssh.openssh import LOOPBACK, Forward

SERVERS = ("JupyterLab", "TensorBoard")
OPEN_PAGES = ("/api", "/")  # what each shows to anybody, where it runs as it should


def urls(notebook: Notebook, forwards: list[Forward], token: str) -> list[str]:
    """The links, JupyterLab's with its token; without one where it asks for a password."""
    jupyter, tensorboard = (f"http://{LOOPBACK}:{forward.local}/" for forward in forwards)
    query = f"?token={token}" if token and notebook.password_hash is None else ""
    return [f"{jupyter}lab{query}", tensorboard]


def page(name: str, links: list[str], *, asks: bool) -> str:
    """What a person reads; `asks` where JupyterLab wants a password."""
    rows = [f"  {server:12} {url}" for server, url in zip(SERVERS, links, strict=True)]
    rows[0] += "  (asks for the password)" if asks else ""
    return "\n".join([f"{name} is open here until Ctrl-C:", *rows])


def to_json(name: str, links: list[str], forwards: list[Forward]) -> dict[str, object]:
    """The same for a program; `port` is here, `box_port` on the box."""
    servers = {
        server.lower(): {"url": url, "port": forward.local, "box_port": forward.remote}
        for server, url, forward in zip(SERVERS, links, forwards, strict=True)
    }
    return {"host": name, **servers}
