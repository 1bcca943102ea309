"""A web server for files that are in memory, on this machine's address in the lab."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from posixpath import normpath
from urllib.parse import unquote

from lab import network


@dataclass
class Site:
    """What is served, by path; it may change while it is served."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(address: str = network.THIS_MACHINE, port: int = 0) -> Iterator[Site]:
    """A site that boxes reach; its address is there as long as there is a box."""
    site = Site()
    server = ThreadingHTTPServer((address, port), _handler(site))
    server.daemon_threads = True
    site.url = f"http://{address}:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "deeprig-lab-stand-in"
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = normpath(unquote(self.path))
            site.asked.append(path)
            content = site.files.get(path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: `Site.asked` has it."""

    return Handler
