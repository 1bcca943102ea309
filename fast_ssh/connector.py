"""`@fast/HOST`: pyinfra's SSH connector, with one shell that is kept and asked all at once."""

import os
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import paramiko
from pyinfra import logger
from pyinfra.api import facts
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.output import echo, format_text
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta
from pyinfra.connectors.util import CommandOutput, OutputLine, execute_command_with_sudo_retry

from fast_ssh import commands, frames, pyinfra_patches, sending
from fast_ssh.cache import SECONDS, Cache
from fast_ssh.commands import Command
from fast_ssh.errors import NoShell
from fast_ssh.history import History, Question
from fast_ssh.kept import Kept
from fast_ssh.watch import Watched, watch
from fast_ssh.wire import ERR


class FastData(ConnectorData):
    """What a host's data may say: the plain connector's, and three of ours."""

    fast_questions: str
    fast_asker: str
    fast_answer_seconds: float


DATA_META = {
    **connector_data_meta,
    "fast_questions": DataMeta("Folder that keeps the questions of the last run"),
    "fast_asker": DataMeta("Version of the deploy; questions of another are not asked ahead", ""),
    "fast_answer_seconds": DataMeta("How old an answer may be and still be used", SECONDS),
}


class FastSSHConnector(Watched, SSHConnector):
    """SSH with one root shell for the whole run, and the questions of the last run in one batch."""

    data_cls: type[Any] = FastData
    data_meta = DATA_META

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        pyinfra_patches.apply()
        state_home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        data: dict[str, Any] = {**self.data}
        folder = Path(data["fast_questions"] or f"{state_home}/fast-ssh").expanduser()
        name = f"{quote(host.name, safe='')}.json"
        history = History(folder / name, str(data["fast_asker"]))
        self.kept = Kept(history, Cache(float(data["fast_answer_seconds"])))
        self._in_callback = False
        self._plain = False
        self.lost: paramiko.Transport | None = None  # the link, where it had gone before the end

    @staticmethod
    def make_names_data(name: str) -> Any:
        yield name, {"ssh_hostname": name}, []

    def make_paramiko_kwargs(self) -> dict[str, Any]:
        options = super().make_paramiko_kwargs()
        key = "_pyinfra_ssh_paramiko_connect_kwargs"
        # Not by `|`: what is given may be made only now, for this one login.
        own = {"transport_factory": sending.transport_factory, **(options[key] or {})}
        return {**options, key: own}

    def connect(self) -> None:
        self.kept.close()
        watch(self.state)
        super().connect()
        assert self.client is not None
        self.kept.transport = self.client.get_transport()
        self._complain()
        self.kept.prefetch()

    def _complain(self) -> None:
        if self.kept.history.complaint:
            self.host.log(f"{self.kept.history.complaint}.", logger.warning)
            self.kept.history.complaint = ""

    def disconnect(self) -> None:
        link = self.kept.transport
        self.lost = link if link and not link.is_active() else None
        self.kept.close()
        self.kept.history.keep()
        self._complain()
        super().disconnect()

    def forget(self) -> None:
        self.kept.cache.forget()

    def callback(self, running: bool) -> None:
        self._in_callback = running

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        # Who called Host.run_shell_command? Only what is a fact is known to change nothing.
        is_fact = sys._getframe(2).f_code is facts._get_fact.__code__
        aside = isinstance(command, commands.Aside)
        if not is_fact and not aside:
            self.forget()

        def run() -> tuple[int, CommandOutput]:
            self.kept.password = self._password(arguments)
            if self._plain or not commands.fits(arguments, self.kept.password):
                raise NoShell
            made = commands.make(command, dict(arguments))
            if print_input:
                echo(f"{self.host.print_prefix}>>> {made.shown}", err=True)
            if (is_fact or aside) and made.stdin is None and made.timeout is None:
                return self._ask(made, print_output, remember=is_fact)
            return self._run(made, print_output)

        try:
            code, output = execute_command_with_sudo_retry(
                self.host, cast(ConnectorArguments, arguments), run
            )
        except NoShell as reason:
            self._go_on_without(str(reason))
            arguments["_env"] = {**frames.LOCALE, **(arguments.get("_env") or {})}
            return super().run_shell_command(command, print_output, print_input, **arguments)
        return code in tuple(arguments.get("_success_exit_codes") or (0,)), output

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Through the kept shell, straight to its place: no copy of it lies in /tmp meanwhile."""
        self.forget()
        self.kept.password = self._password(arguments)
        with get_file_io(filename_or_io) as file:
            content = file.read(commands.LONGEST_STDIN + 1)
        large = len(content) > commands.LONGEST_STDIN
        if self._plain or large or not commands.fits(arguments, self.kept.password):
            return super().put_file(
                filename_or_io,
                remote_filename,
                remote_temp_filename,
                print_output,
                print_input,
                **arguments,
            )
        receive = StringCommand("cat >", QuoteString(remote_filename))
        made = commands.make(receive, dict(arguments))._replace(stdin=content)
        code, output = self._run(made, print_output)
        if code:
            logger.error(f"File upload error: {output.stderr}")
        elif print_output:
            echo(f"{self.host.print_prefix}file uploaded: {remote_filename}", err=True)
        return code == 0

    def rsync(self, *args: Any, **arguments: Any) -> Any:
        self.forget()
        return super().rsync(*args, **arguments)

    def _ask(
        self, made: Command, print_output: bool, *, remember: bool
    ) -> tuple[int, CommandOutput]:
        secret = made.text != made.shown
        remember = remember and not secret and not self._in_callback
        done = self.kept.ask(Question(made.level, made.text), remember=remember)
        output = commands.output(done)
        for line in output if print_output else ():
            self._print(line)
        return done.code, output

    def _run(self, made: Command, print_output: bool) -> tuple[int, CommandOutput]:
        lines: list[OutputLine] = []

        def see(name: str, text: bytes) -> None:
            lines.append(OutputLine(name, commands.as_text(text)))
            if print_output:
                self._print(lines[-1])

        done = self.kept.run(made, see)
        return done.code, CommandOutput(lines) if lines else commands.output(done)

    def _print(self, line: OutputLine) -> None:
        text = format_text(line.line, "red") if line.buffer_name == ERR else line.line
        echo(f"{self.host.print_prefix}{text}", err=True)

    def _password(self, arguments: dict[str, Any]) -> str | None:
        return commands.password_of(
            arguments, self.host.connector_data.get("prompted_sudo_password")
        )

    def _go_on_without(self, reason: str) -> None:
        """Say once why this host is asked over plain SSH."""
        if reason and not self._plain:
            self._plain = True
            self.kept.close()
            self.host.log(
                f"No shell can be kept here ({reason}); going on over plain SSH, slower.",
                logger.warning,
            )
