"""The tunnel to one box: opened again whenever it breaks."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.settings import Notebook
from deeprig.ssh.openssh import Forward
from deeprig.ui import screen
from deeprig.ui.progress import Progress
from deeprig_cli.tunnel import local_ports
from deeprig_cli.tunnel.process import SshProcess
from deeprig_cli.tunnel.report import OPEN_PAGES, SERVERS, page, to_json, urls

ANSWER_SECONDS = 20  # after a boot the notebook starts some seconds later than SSH
PAUSE_SECONDS = 1
FIRST_TRIES = 3  # somebody may take a port between the look and the listening


class ReconnectingTunnel:
    """The links to one box, one after the other, all through the same local ports."""

    def __init__(self, inventory: Path, name: str, data: dict[str, Any], *, as_json: bool) -> None:
        self.inventory, self.name, self.data = inventory, name, data
        self.notebook: Notebook = data["rig"].notebook
        self.as_json = as_json
        self.progress = Progress()
        self.forwards: list[Forward] = []
        self.link: SshProcess | None = None
        self.shown = ""

    def keep(self) -> NoReturn:
        """Hold it open. Raises DeeprigError where trying on would be of no use."""
        with self.progress.step(f"Log in on {self.name}"):
            link = self._first()
            silent = self._silent(link)
        if len(silent) == len(SERVERS) and link.holds:
            deploy = f"pyinfra {self.inventory} deploy.py --limit {self.name}"
            _say(f"Neither {' nor '.join(silent)} answers on {self.name}; `{deploy}` starts them.")
            sys.exit(1)
        while True:
            self._show(link.token, silent)
            link.wait()
            lost = time.monotonic()
            with self.progress.step(
                f"{self.name} was lost at {time.strftime('%H:%M:%S')}, trying again"
            ):
                link = self._again()
                silent = self._silent(link)
            _say(f"{self.name} is back after {time.monotonic() - lost:.0f} s")

    def close(self) -> None:
        if self.link:
            self.link.close()

    def _start(self) -> SshProcess:
        """A new try, by what the inventory says now: a deploy may have moved the port."""
        self.close()
        with suppress(DeeprigError, KeyError):  # somebody is just editing it
            self.data = dict(inventories.load(self.inventory))[self.name]
        token_of = None if self.notebook.password_hash else self.notebook.user
        self.link = SshProcess(self.name, self.data, self.forwards, token_of)
        return self.link

    def _first(self) -> SshProcess:
        """The first link, which settles the local ports."""
        remote = (self.notebook.port, self.notebook.tensorboard_port)
        for _ in range(FIRST_TRIES):
            here = local_ports.choose(remote)
            self.forwards = [Forward(*pair) for pair in zip(here, remote, strict=True)]
            link = self._start()
            if link.open():
                return link
            if not link.port_taken:
                break
        link.fail()

    def _again(self) -> SshProcess:
        """The next link, however long that takes."""
        self.progress.doing("waiting for SSH")
        while True:
            time.sleep(PAUSE_SECONDS)
            link = self._start()
            if link.open():
                return link
            if link.refused:
                link.fail()
            self.progress.doing(f"waiting for SSH: {link.why()}")

    def _silent(self, link: SshProcess) -> list[str]:
        """The servers that do not answer through the link, after some patience."""
        started = time.monotonic()
        while True:
            silent = [
                name
                for name, path, forward in zip(SERVERS, OPEN_PAGES, self.forwards, strict=True)
                if not local_ports.answers(forward.local, path)
            ]
            if not silent or not link.holds or time.monotonic() - started > ANSWER_SECONDS:
                return silent
            self.progress.doing(f"waiting for {' and '.join(silent)}")
            time.sleep(PAUSE_SECONDS)

    def _show(self, token: str, silent: list[str]) -> None:
        """Print the links, again only where they have changed; say what does not answer."""
        links = urls(self.notebook, self.forwards, token)
        text = (
            json.dumps(to_json(self.name, links, self.forwards))
            if self.as_json
            else page(self.name, links, asks=self.notebook.password_hash is not None)
        )
        if text != self.shown:
            screen.echo(text)
            for server, forward in zip(SERVERS, self.forwards, strict=True):
                if forward.local != forward.remote:
                    _say(f"port {forward.remote} is taken here; {server} has {forward.local}")
        self.shown = text
        if self.link and self.link.stranger:
            _say(self.link.stranger)
        for server in silent:
            _say(f"{server} does not answer on {self.name}; a deploy starts it.")


def _say(line: str) -> None:
    screen.echo(line, err=True)
