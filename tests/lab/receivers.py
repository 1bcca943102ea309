"""Who gets a box's messages in tests: a stand-in for an ntfy server, and a real mail server.

Both listen on this machine's address in the lab, where the boxes reach them.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller

from lab import network

HERE = network.THIS_MACHINE


class Posted(NamedTuple):
    """A message as ntfy's clients post it."""

    topic: str
    title: str
    priority: str
    login: str | None
    text: str


class Ntfy:
    """A stand-in for an ntfy server: it takes what is posted to any topic, or refuses it."""

    def __init__(self) -> None:
        self.got: list[Posted] = []
        self.answer = 200
        self.delay = 0.0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def url(self, topic: str) -> str:
        return f"http://{HERE}:{self.port}/{topic}"

    def start(self) -> None:
        if self._server:
            return
        self._server = ThreadingHTTPServer((HERE, self.port), _handler(self))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Nobody answers any more at its port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def titles(self) -> list[str]:
        """What came since it was last asked, without the box's name."""
        titles = [message.title.partition(": ")[2] for message in self.got]
        self.got.clear()
        return titles


def _handler(ntfy: Ntfy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "stand-in-for-ntfy"

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            time.sleep(ntfy.delay)
            if ntfy.answer == 200:
                said = self.headers
                ntfy.got.append(
                    Posted(
                        self.path.strip("/"),
                        said["Title"],
                        said["Priority"],
                        said["Authorization"],
                        text,
                    )
                )
            self.send_response(ntfy.answer)
            self.end_headers()
            self.wfile.write(b'{"server": "a stand-in for ntfy"}')

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest's output is for results."""

    return Handler


class Mailbox:
    """What a real SMTP server was given; aiosmtpd calls `handle_DATA`."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.server = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        return "250 taken"


@contextmanager
def mail_server(port: int = 2525) -> Iterator[Mailbox]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname=HERE, port=port)
    controller.start()
    mailbox.server = f"{HERE}:{port}"
    yield mailbox
    controller.stop()
